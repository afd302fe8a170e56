// The functions that every CUDA program can call without having their code.
#pragma once

#include "code.h"

namespace ptx {

// What runs a call of vprintf or __assertfail; null for another name. The call's arguments say
// where in the frame they are.
Instruction::Run runtime_function(std::string_view name);

}  // namespace ptx
