#include "job/dispatch/keeper.h"

#include "worker/process.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

namespace {

using worker::Entry;
using worker::Kind;
using worker::Lock;
using worker::State;

constexpr int64 look_again = 200 * 1000; // while it comes or goes

Entry *entry_of_dispatcher(bool is_wanted)
{
	Lock lock(Lock::exclusive);
	Entry *entry = worker::find(Kind::dispatcher, MyDatabaseId);
	if (entry == nullptr && is_wanted) {
		entry = worker::add(Kind::dispatcher, MyDatabaseId, 0, NameStr(worker::self().database_name));
		if (entry != nullptr)
			entry->database_name = worker::self().database_name;
	}
	return entry;
}

void complain_of_room()
{
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("no entry is free for the dispatcher of jobs"),
			 errhint("Increase pgbraid.max_workers in postgresql.conf and restart the server.")));
}

} // namespace

TimestampTz keep_dispatcher(bool is_wanted)
{
	Entry *entry = entry_of_dispatcher(is_wanted);
	if (entry == nullptr) {
		if (is_wanted)
			complain_of_room();
		return 0;
	}
	worker::reap(*entry);
	TimestampTz now = GetCurrentTimestamp();
	bool is_away = entry->pid == 0 && entry->state != State::launching;
	if (!is_wanted) {
		Lock lock(Lock::exclusive);
		worker::request_stop(*entry);
		if (entry->pid == 0)
			worker::free_entry(*entry);
		return is_away ? 0 : now + look_again;
	}
	if (is_away && entry->next_start_at <= now) {
		worker::launch(*entry);
		return now + look_again;
	}
	return is_away ? entry->next_start_at : 0;
}

} // namespace pgbraid::job
