// What the measuring client reads its streams with.
#include "../receiver.h"

#include "bindings.h"

namespace legato {
namespace {

// (bytes, ends of its pieces, their stamps, whether the connection is closed, errno)
nb::tuple take_received(Receiver& receiver, int socket) {
  Received received = receiver.take(socket);
  return nb::make_tuple(nb::bytes(received.bytes.data(), received.bytes.size()), received.ends,
                        received.stamps_ns, received.closed, received.error);
}

}  // namespace

void bind_receiver(nb::module_& m) {
  nb::class_<Receiver>(m, "Receiver")
      .def(nb::init<>())
      .def_prop_ro("descriptor", &Receiver::descriptor)
      .def("add", &Receiver::add, "socket"_a)
      .def("remove", &Receiver::remove, "socket"_a)
      .def("set_eager", &Receiver::set_eager, "socket"_a, "eager"_a)
      .def("take", &take_received, "socket"_a)
      .def("ready", &Receiver::ready);
  m.def("stamp_arrivals", &stamp_arrivals, "socket"_a);
  m.def("next_arrival_ns", &next_arrival_ns, "socket"_a);
}

}  // namespace legato
