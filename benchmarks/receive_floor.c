// What receiving a token costs at least: epoll and recvmsg with the kernel's stamp, nothing else.
//
//     receive_floor PORT STREAMS PAUSE_MS
//
// Asks STREAMS questions and reads until each answer has ended; with PAUSE_MS above 0 it sleeps so
// long after each look. Prints the microseconds of CPU a read.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double cpu_s(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void ask(int epoll, int port) {
  const char request[] = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
  const int on = 1, number = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(number, (struct sockaddr*)&address, sizeof address)) exit(1);
  setsockopt(number, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = number};
  epoll_ctl(epoll, EPOLL_CTL_ADD, number, &event);
  if (write(number, request, sizeof request - 1) < 0) exit(1);
}

static ssize_t receive(int number, char* buffer, size_t size) {
  char control[256];
  struct iovec place = {buffer, size};
  struct msghdr message = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = control};
  message.msg_controllen = sizeof control;
  return recvmsg(number, &message, 0);
}

int main(int count, char** arguments) {
  static char buffer[1 << 16];
  struct epoll_event events[256];
  struct timespec now;
  if (count != 4) return 1;
  int left = atoi(arguments[2]), reads = 0;
  const long pause_ns = (long)(atof(arguments[3]) * 1e6);
  const struct timespec pause = {0, pause_ns};
  const int epoll = epoll_create1(0);
  for (int i = left; i > 0; --i) ask(epoll, atoi(arguments[1]));
  const double start_s = cpu_s();
  while (left > 0) {
    const int ready = epoll_wait(epoll, events, 256, -1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (int i = 0; i < ready; ++i, ++reads) {
      const ssize_t size = receive(events[i].data.fd, buffer, sizeof buffer);
      if (size <= 0) return 1;
      left -= size >= 5 && !memcmp(buffer + size - 5, "0\r\n\r\n", 5);
    }
    if (pause_ns > 0) nanosleep(&pause, NULL);
  }
  printf("%.2f\n", (cpu_s() - start_s) / reads * 1e6);
  return 0;
}
