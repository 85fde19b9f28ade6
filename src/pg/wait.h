// How a worker sleeps: on its latch, a deadline, the death of the postmaster, and at most two file descriptors.
// Interrupts and a pending reload of the configuration are dealt with before it returns.
#pragma once
#include "pg/boundary.h"

struct WaitEventSet;

namespace pgbraid::pg {

class Waiter {
public:
	// `fd`, an eventfd, is readable when there is something to do, or -1; so is `other`, which is not read from. Lives
	// as long as the process.
	explicit Waiter(const char *wait_event, int fd = -1, int other = -1);

	// True when woken before the timeout. -1 waits for ever. ereports (as pg::Error) what an interrupt asks for.
	bool wait(long timeout_ms);

private:
	WaitEventSet *set_;
	uint32 wait_event_;
	int fd_;
};

// The reload of the configuration, if one is pending.
void reload_if_pending();

// CHECK_FOR_INTERRUPTS, and the reload of the configuration if one is pending.
void check_interrupts();

// How often the configuration has been reloaded in this process.
unsigned configuration_generation() noexcept;

} // namespace pgbraid::pg
