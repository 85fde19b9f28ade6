// The process that carries out an operation, as the code that does so sees it.
#pragma once
#include "branch/operations.h"
#include "pg/transaction.h"

namespace pgbraid::branch {

// The operation of this process, which must have one; the keeper has none, and calls the others below as well.
Operation &current() noexcept;

void show(Phase phase) noexcept;

// Waits here while pgbraid.branch_hold_at names this step: for tests of what goes wrong at it.
void reach(const char *step);

// Sleeps so long, or until it is woken; with check_cancelled().
void nap(long milliseconds);

// Throws 57014 when the session wants no more of it; handles interrupts.
void check_cancelled();

} // namespace pgbraid::branch
