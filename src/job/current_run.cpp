#include "job/current_run.h"

#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "tcop/tcopprot.h"
}

#include <utility>

namespace pgbraid::job {

using worker::Lock;
using worker::self;

void hold_run(int64 run)
{
	pqsignal(SIGINT, StatementCancelHandler);
	Lock lock(Lock::exclusive);
	self().run = run;
}

void hold_next_run(int64 run)
{
	Lock lock(Lock::exclusive);
	self().next_run = run;
}

// Signals are sent under the lock: when we have it, what was meant for the run that has ended is here.
void let_go_of_run()
{
	bool is_cancelled;
	{
		Lock lock(Lock::exclusive);
		self().run = std::exchange(self().next_run, 0);
		is_cancelled = std::exchange(self().next_cancelled, false);
		QueryCancelPending = false;
	}
	if (is_cancelled)
		kill(MyProcPid, SIGINT);
}

void ignore_cancels()
{
	pqsignal(SIGINT, SIG_IGN);
	QueryCancelPending = false;
}

} // namespace pgbraid::job
