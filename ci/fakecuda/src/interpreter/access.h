// What the decoders of memory instructions share.
#pragma once

#include "form.h"

namespace ptx {

Space take_space(Form &form);

// Takes the modifiers about order, visibility and caches, which change nothing where threads run
// one after another; whether a cache policy follows as the last operand.
bool take_order_and_caches(Form &form);
void take_cache_policy(Form &form, bool present);

}  // namespace ptx
