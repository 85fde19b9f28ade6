#include "pg/wait.h"

#include "pg/compat.h"

extern "C" {
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
}

#include <unistd.h>

namespace pgbraid::pg {

namespace {
unsigned reloads = 0;
}

Waiter::Waiter(const char *wait_event, int fd, int other) : fd_(fd)
{
	call([&] {
		set_ = create_wait_event_set(4);
		AddWaitEventToSet(set_, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
		AddWaitEventToSet(set_, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
		if (fd_ >= 0)
			AddWaitEventToSet(set_, WL_SOCKET_READABLE, fd_, nullptr, nullptr);
		if (other >= 0)
			AddWaitEventToSet(set_, WL_SOCKET_READABLE, other, nullptr, nullptr);
		wait_event_ = pg::wait_event(wait_event);
	});
}

bool Waiter::wait(long timeout_ms)
{
	return call([&] {
		WaitEvent events[4];
		int count = WaitEventSetWait(set_, timeout_ms, events, 4, wait_event_);
		for (int i = 0; i < count; i++) {
			if (events[i].events & WL_LATCH_SET)
				ResetLatch(MyLatch);
			if ((events[i].events & WL_SOCKET_READABLE) && events[i].fd == fd_) {
				uint64 ignored;
				(void) !read(fd_, &ignored, sizeof ignored);
			}
		}
		check_interrupts();
		return count > 0;
	});
}

void check_interrupts()
{
	CHECK_FOR_INTERRUPTS();
	reload_if_pending();
}

void reload_if_pending()
{
	if (ConfigReloadPending) {
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		reloads++;
	}
}

unsigned configuration_generation() noexcept
{
	return reloads;
}

} // namespace pgbraid::pg
