// Keeps what many sockets receive, with the time each piece came, on a thread of its own.
//
// A client that measures servers reads every token of many streams. Doing so outside the
// interpreter costs about what the system calls cost, and no stamp waits for other work: the kernel
// stamps the segments of TCP when they arrive (SO_TIMESTAMPNS), however late the thread wakes.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace legato {

// Have the kernel stamp what comes on a socket, or on those that a listening one accepts. Where it
// cannot, there are no stamps.
void stamp_arrivals(int socket);
// When the bytes that are to be read next came, in ns of CLOCK_MONOTONIC; 0 where nobody knows.
int64_t next_arrival_ns(int socket);

// What came on one socket. Piece i is bytes [ends[i−1], ends[i]); stamps in ns of CLOCK_MONOTONIC.
struct Received {
  std::string bytes;
  std::vector<int64_t> ends;
  std::vector<int64_t> stamps_ns;
  bool closed = false;  // nothing more will come
  int error = 0;        // errno of a connection that broke
};

class Receiver {
 public:
  Receiver();  // throws std::system_error
  ~Receiver();
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // Readable while ready() has something to tell.
  int descriptor() const { return wake_; }

  // Receive on a connected, non-blocking socket until it is forgotten.
  void add(int socket);
  // Forget a socket; before it is closed.
  void remove(int socket);
  // Tell of every piece (eager), or only of one that may end a chunked response: a piece that ends
  // with an empty line, is shorter than the last chunk, or is one of very many.
  void set_eager(int socket, bool eager);
  // What came since the last call.
  Received take(int socket);
  // The sockets that have something to tell since the last call.
  std::vector<int> ready();

 private:
  struct Stream {
    Received received;
    bool eager = true;
    bool told = false;
  };

  void run();
  void receive(int socket);
  void keep(Stream& stream, const char* data, int64_t size, int64_t stamp_ns);
  void tell(int socket, Stream& stream);

  const int epoll_;
  const int wake_;
  const int stop_;
  std::mutex mutex_;
  std::unordered_map<int, Stream> streams_;
  std::vector<int> ready_;
  std::vector<char> buffer_;
  std::thread thread_;  // last: it uses the others
};

}  // namespace legato
