#include "settings/settings.h"

extern "C" {
#include "miscadmin.h"
#include "utils/guc.h"
}

#include <climits>

namespace pgbraid::settings {

namespace {

char *nats_url_setting;
int max_workers_setting = 64;
int flow_memory_kb = 16 * 1024;
int flow_save_interval = 1000;
int flow_horizon = 10 * 1000;
bool flow_wait_for_standbys_setting = true;
char *branch_hold_at_setting;
int job_executors_setting = 4;
int job_concurrency_setting = 0;
int job_dispatches_setting = 200;
int job_clock_shift = 0;
int branch_trash_age_setting = 60 * 60;
int restart_delay_max = 30 * 1000;

struct Integer {
	const char *name, *summary, *detail;
	int *value;
	int least, most;
	GucContext context;
	int unit;
};

const Integer integers[] = {
	{"pgbraid.max_workers", "Sets how many workers of pgbraid the cluster can keep track of.",
	 "Each flow counts as one, each database with flows or jobs as one more, and its scheduler and executors of jobs. "
	 "Background processes are limited by "
	 "max_worker_processes.",
	 &max_workers_setting, 4, 8192, PGC_POSTMASTER, 0},
	{"pgbraid.flow_memory", "Sets how much a flow may hold in memory that the stream has not acknowledged.",
	 "When it is reached, the flow waits, and WAL is retained. One event larger than it still passes.", &flow_memory_kb,
	 64, MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB},
	{"pgbraid.flow_save_interval", "Sets how often a flow's confirmed position is written to disk.",
	 "After a crash of the server, WAL of this time and of pgbraid.flow_horizon is read again.", &flow_save_interval,
	 10, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"pgbraid.flow_horizon", "Sets for how long WAL is kept for what a stream has acknowledged.",
	 "A NATS server acknowledges messages before it has written them to disk. What it loses of this time is noticed "
	 "and "
	 "published again.",
	 &flow_horizon, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"pgbraid.job_executors", "Sets how many processes of a database execute the commands of jobs.",
	 "One is kept warm; the others are started when there is work for them, and leave after a minute without.",
	 &job_executors_setting, 1, 1024, PGC_SIGHUP, 0},
	{"pgbraid.job_concurrency",
	 "Sets how many runs of jobs a database may have ready or running at a time; 0 is any number.",
	 "Those beyond wait for a place.", &job_concurrency_setting, 0, INT_MAX, PGC_SIGHUP, 0},
	{"pgbraid.job_dispatches",
	 "Sets how many runs of jobs a database offers over NATS at a time, and how many webhooks it calls.",
	 "An offer that was taken up does not count.", &job_dispatches_setting, 1, 100000, PGC_SIGHUP, 0},
	{"pgbraid.job_clock_shift", "Puts the clock that schedules go by ahead, or back.",
	 "For tests of what jobs do after the clock was wrong.", &job_clock_shift, -INT_MAX, INT_MAX, PGC_SIGHUP,
	 GUC_UNIT_MS | GUC_SUPERUSER_ONLY},
	{"pgbraid.branch_trash_age", "Sets for how long a branch that was dropped or reset can be had back.",
	 "Then its database is dropped. Until then it takes its place on the disk.", &branch_trash_age_setting, 0, INT_MAX,
	 PGC_SIGHUP, GUC_UNIT_S},
	{"pgbraid.restart_delay_max", "Sets the longest delay before a failed worker is started again.",
	 "The delay starts at 100 ms and doubles with each failure in a row.", &restart_delay_max, 100, INT_MAX, PGC_SIGHUP,
	 GUC_UNIT_MS},
};

} // namespace

void define()
{
	DefineCustomStringVariable("pgbraid.nats_url", "Sets the NATS servers of flows and jobs that name no server.",
							   "A list of nats:// or tls:// URLs, separated by commas.", &nats_url_setting,
							   "nats://127.0.0.1:4222", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("pgbraid.branch_hold_at", "Sets the step at which operations on branches stop and wait.",
							   "For tests of what a crash at that step leaves.", &branch_hold_at_setting, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
	DefineCustomBoolVariable(
		"pgbraid.flow_wait_for_standbys",
		"Sets whether flows wait until synchronous standbys, and those of failover slots, have a commit.",
		"Else an event may tell of a commit that a failover undoes.", &flow_wait_for_standbys_setting, true, PGC_SIGHUP,
		0, nullptr, nullptr, nullptr);
	for (const Integer &setting : integers) {
		// What sizes shared memory can only be defined while it is being sized.
		if (setting.context == PGC_POSTMASTER && !process_shared_preload_libraries_in_progress)
			continue;
		DefineCustomIntVariable(setting.name, setting.summary, setting.detail, setting.value, *setting.value,
								setting.least, setting.most, setting.context, setting.unit, nullptr, nullptr, nullptr);
	}
	MarkGUCPrefixReserved("pgbraid");
}

const char *nats_url()
{
	return nats_url_setting;
}

int max_workers()
{
	return max_workers_setting;
}

size_t flow_memory()
{
	return (size_t) flow_memory_kb * 1024;
}

int flow_save_interval_ms()
{
	return flow_save_interval;
}

int flow_horizon_ms()
{
	return flow_horizon;
}

bool flow_wait_for_standbys()
{
	return flow_wait_for_standbys_setting;
}

int job_executors()
{
	return job_executors_setting;
}

int job_concurrency()
{
	return job_concurrency_setting;
}

int job_dispatches()
{
	return job_dispatches_setting;
}

int job_clock_shift_ms()
{
	return job_clock_shift;
}

const char *branch_hold_at()
{
	return branch_hold_at_setting;
}

int branch_trash_age_s()
{
	return branch_trash_age_setting;
}

int restart_delay_max_ms()
{
	return restart_delay_max;
}

} // namespace pgbraid::settings
