#include "receiver.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace legato {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kMomentNs = 20'000;  // two clocks that were read so quickly show one moment
constexpr int kTries = 3;
constexpr size_t kBufferBytes = 1 << 16;
constexpr int kEvents = 256;
constexpr size_t kMostWaiting = 256;  // pieces that are kept before somebody is told
constexpr std::string_view kEnding = "\r\n\r\n";  // of a chunked body
constexpr int64_t kLastChunk = 5;                 // bytes of it; no shorter piece rules it out
// With many streams the thread pauses after each look, so that a wake-up serves several of them.
// Pieces of one stream closer than this may share the later one's stamp.
constexpr size_t kManyStreams = 8;
constexpr timespec kPause = {0, 1'000'000};

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

int64_t nanoseconds(const timespec& time) { return time.tv_sec * kNsPerSecond + time.tv_nsec; }

int64_t now_ns(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return nanoseconds(time);
}

// One moment on two clocks.
struct Moment {
  int64_t monotonic, real;

  static Moment now() {
    Moment moment{};
    for (int tries = 0; tries < kTries; ++tries) {
      moment = {now_ns(CLOCK_MONOTONIC), now_ns(CLOCK_REALTIME)};
      if (now_ns(CLOCK_MONOTONIC) - moment.monotonic < kMomentNs) break;  // else interrupted
    }
    return moment;
  }
};

// A place for a message with its stamp.
struct Place {
  alignas(cmsghdr) std::array<char, 256> control;
  iovec bytes;
  msghdr message{};

  Place(char* buffer, size_t size) : bytes{buffer, size} {
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
};

// When the data of `message` came by the kernel's stamp; `otherwise` without one, or where the wall
// clock was set meanwhile.
int64_t arrival_ns(msghdr& message, const Moment& now, int64_t otherwise) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp;
    std::memcpy(&stamp, CMSG_DATA(part), sizeof stamp);
    const int64_t age = now.real - nanoseconds(stamp);
    if (age >= 0 && age < kNsPerSecond) return now.monotonic - age;
  }
  return otherwise;
}

void watch(int epoll, int descriptor) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  checked(epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event), "epoll_ctl");
}

void ring(int descriptor) {
  const uint64_t one = 1;
  [[maybe_unused]] const auto written = write(descriptor, &one, sizeof one);
}

}  // namespace

void stamp_arrivals(int socket) {
  const int on = 1;
  setsockopt(socket, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
}

int64_t next_arrival_ns(int socket) {
  char first;
  Place place(&first, 1);
  if (recvmsg(socket, &place.message, MSG_PEEK | MSG_DONTWAIT) <= 0) return 0;
  return arrival_ns(place.message, Moment::now(), 0);
}

Receiver::Receiver()
    : epoll_(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      wake_(checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      stop_(checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      buffer_(kBufferBytes) {
  watch(epoll_, stop_);
  thread_ = std::thread(&Receiver::run, this);
}

Receiver::~Receiver() {
  ring(stop_);
  thread_.join();
  for (const int descriptor : {epoll_, wake_, stop_}) close(descriptor);
}

void Receiver::add(int socket) {
  stamp_arrivals(socket);
  const std::lock_guard lock(mutex_);
  watch(epoll_, socket);
  streams_[socket] = {};
}

void Receiver::remove(int socket) {
  const std::lock_guard lock(mutex_);
  if (streams_.erase(socket) > 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
}

void Receiver::set_eager(int socket, bool eager) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(socket);
  if (found != streams_.end()) found->second.eager = eager;
}

Received Receiver::take(int socket) {
  const std::lock_guard lock(mutex_);
  const auto found = streams_.find(socket);
  if (found == streams_.end()) return {};
  found->second.told = false;
  Received taken = std::move(found->second.received);
  found->second.received = {};
  return taken;
}

std::vector<int> Receiver::ready() {
  const std::lock_guard lock(mutex_);
  uint64_t rings;
  [[maybe_unused]] const auto got = read(wake_, &rings, sizeof rings);
  return std::exchange(ready_, {});
}

void Receiver::run() {
  std::array<epoll_event, kEvents> events;
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), kEvents, -1);
    bool many = false;
    {
      const std::lock_guard lock(mutex_);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == stop_) return;
        receive(events[i].data.fd);
      }
      many = streams_.size() >= kManyStreams;
    }
    if (many) nanosleep(&kPause, nullptr);
  }
}

// The socket may have been removed since it was seen to be readable.
void Receiver::receive(int socket) {
  const auto found = streams_.find(socket);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  Place place(buffer_.data(), buffer_.size());
  const ssize_t size = recvmsg(socket, &place.message, MSG_DONTWAIT);
  if (size > 0) {
    const Moment now = Moment::now();
    keep(stream, buffer_.data(), size, arrival_ns(place.message, now, now.monotonic));
    const std::string_view piece(buffer_.data(), static_cast<size_t>(size));
    if (stream.eager || size < kLastChunk || piece.ends_with(kEnding) ||
        stream.received.ends.size() >= kMostWaiting) {
      tell(socket, stream);
    }
  } else if (size == 0 || (errno != EAGAIN && errno != EINTR)) {
    stream.received.closed = true;
    stream.received.error = size < 0 ? errno : 0;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);
    tell(socket, stream);
  }
}

// Stamps of a stream never go back, also where one is the kernel's and the next is not.
void Receiver::keep(Stream& stream, const char* data, int64_t size, int64_t stamp_ns) {
  Received& received = stream.received;
  if (!received.stamps_ns.empty()) stamp_ns = std::max(stamp_ns, received.stamps_ns.back());
  received.bytes.append(data, static_cast<size_t>(size));
  received.ends.push_back(static_cast<int64_t>(received.bytes.size()));
  received.stamps_ns.push_back(stamp_ns);
}

void Receiver::tell(int socket, Stream& stream) {
  if (stream.told) return;
  stream.told = true;
  if (ready_.empty()) ring(wake_);
  ready_.push_back(socket);
}

}  // namespace legato
