// The extension module legato._native.
#include "../check.h"
#include "bindings.h"

NB_MODULE(_native, m) {
  m.doc() = "Legato's native runtime; see native/program.h for the meaning of every field.";
  nb::exception<legato::StepError>(m, "StepError", PyExc_ValueError);
  m.attr("NONE") = legato::kNone;
  legato::bind_enums(m);
  legato::bind_plan(m);
  legato::bind_instructions(m);
  legato::bind_executor(m);
  legato::bind_weights(m);
  legato::bind_machine(m);
  legato::bind_chunks(m);
  legato::bind_drafters(m);
  legato::bind_draft_book(m);
#ifdef __linux__
  legato::bind_receiver(m);
#endif
}
