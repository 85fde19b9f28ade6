#include "job/executors.h"

#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

using worker::Entry;
using worker::Kind;
using worker::Lock;
using worker::State;

namespace {

template <typename F>
void for_each_executor(F &&f)
{
	for (int i = 0; i < worker::entry_count(); i++) {
		Entry &entry = worker::entries()[i];
		if (entry.kind == Kind::executor && entry.database == MyDatabaseId)
			f(entry);
	}
}

int count_busy()
{
	int busy = 0;
	Lock lock(Lock::shared);
	for_each_executor([&](const Entry &entry) { busy += entry.pid != 0 && entry.run != 0; });
	return busy;
}

Entry *entry_of(int number)
{
	char name[NAMEDATALEN];
	snprintf(name, sizeof name, "%.50s %d", NameStr(worker::self().database_name), number);
	Lock lock(Lock::exclusive);
	Entry *entry = worker::find(Kind::executor, MyDatabaseId, number);
	if (entry == nullptr)
		entry = worker::add(Kind::executor, MyDatabaseId, number, name);
	if (entry != nullptr)
		entry->database_name = worker::self().database_name;
	return entry;
}

// Once in a while: it is asked for with each run.
void warn_of_full_registry()
{
	static TimestampTz warned_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	if (warned_at != 0 && !TimestampDifferenceExceeds(warned_at, now, 60 * 1000))
		return;
	warned_at = now;
	ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("no entry is free for an executor of jobs"),
					  errhint("Increase pgbraid.max_workers in postgresql.conf and restart the server.")));
}

void start(int number)
{
	Entry *entry = entry_of(number);
	if (entry == nullptr) {
		warn_of_full_registry();
		return;
	}
	worker::reap(*entry);
	bool is_away = entry->pid == 0 && entry->state != State::launching;
	if (is_away && entry->next_start_at <= GetCurrentTimestamp())
		worker::launch(*entry);
}

} // namespace

void start_executors(int ready, bool keep_warm)
{
	int wanted = ready == 0 ? 0 : Min(ready + count_busy(), settings::job_executors());
	for (int number = 1; number <= Max(wanted, keep_warm ? 1 : 0); number++)
		start(number);
	if (ready > 0)
		(void) worker::wake_idle_executors(MyDatabaseId,
										   ready); // who was to be woken may have been busy, or about to leave
}

void stop_executors()
{
	Lock lock(Lock::exclusive);
	for_each_executor([](Entry &entry) { worker::request_stop(entry); });
}

} // namespace pgbraid::job
