// The memory in which a row is sampled, cut from bytes of the caller.
#pragma once

#include "sample_kernels.h"

namespace legato {

// What was found in a segment. A line each: threads write neighbours at the same time.
struct alignas(64) SampleSegment {
  Scan scan;
  Winner winner;
  double mass;
  int32_t count;  // of candidates
};

// What one thread finds out for all.
struct alignas(64) SampleShared {
  float max;    // of the adjusted logits
  float bound;  // of the values that are worth collecting
  int32_t token;
};

constexpr int32_t sample_chunks(int32_t vocab) { return (vocab + kSampleChunk - 1) / kSampleChunk; }
constexpr int32_t sample_segments(int32_t vocab) {
  return (vocab + kSampleSegment - 1) / kSampleSegment;
}

struct SampleScratch {
  static constexpr int32_t kStride = kSampleSegment + 16;  // writers touch whole vectors

  SampleShared* shared;
  SampleSegment* segments;
  float* row;        // adjusted logits
  float* chunk_max;
  float* values;     // candidates: those of segment i at i * kStride
  int32_t* ids;
  float* work;

  static int64_t floats(int32_t vocab) { return int64_t{sample_segments(vocab)} * kStride; }
  static int64_t bytes(int32_t vocab) {
    return static_cast<int64_t>(sizeof(SampleShared)) +
           sample_segments(vocab) * static_cast<int64_t>(sizeof(SampleSegment)) +
           5 * floats(vocab) * static_cast<int64_t>(sizeof(float));
  }

  SampleScratch(uint8_t* memory, int32_t vocab) {
    shared = reinterpret_cast<SampleShared*>(memory);
    segments = reinterpret_cast<SampleSegment*>(shared + 1);
    row = reinterpret_cast<float*>(segments + sample_segments(vocab));
    chunk_max = row + floats(vocab);
    values = chunk_max + floats(vocab);
    ids = reinterpret_cast<int32_t*>(values + floats(vocab));
    work = reinterpret_cast<float*>(ids + floats(vocab));
  }
};

}  // namespace legato
