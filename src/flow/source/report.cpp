#include "flow/source/report.h"

#include "pg/boundary.h"
#include "worker/process.h"

extern "C" {
#include "access/xlog.h"
#include "utils/timestamp.h"
}

namespace pgbraid::flow {

void Report::publishing(const nats::Publisher::Progress &progress)
{
	worker::Entry &entry = worker::self();
	trouble(progress);
	pg_atomic_fetch_add_u64(&entry.retries, (int64) (progress.retries - retries_));
	retries_ = progress.retries;
	pg_atomic_fetch_add_u64(&entry.events_published, (int64) (progress.acknowledged_messages - published_));
	published_ = progress.acknowledged_messages;
}

void Report::trouble(const nats::Publisher::Progress &progress)
{
	if (progress.errors != errors_ && progress.error) {
		errors_ = progress.errors;
		worker::set_trouble(worker::self(), progress.error->sqlstate, progress.error->message.c_str(),
							progress.error->hint.c_str());
		if (is_healthy_ || errors_ == 1)
			ereport(LOG, (errmsg("flow \"%s\" can't publish: %s", flow_.c_str(), progress.error->message.c_str()),
						  progress.error->hint.empty() ? 0 : errhint("%s", progress.error->hint.c_str())));
	}
	if (progress.healthy && !is_healthy_)
		ereport(LOG, (errmsg("flow \"%s\" is connected to %s", flow_.c_str(), progress.connected_url.c_str())));
	is_healthy_ = progress.healthy;
}

void Report::decoding(const Decoder::Counters &now, core::Lsn committed)
{
	constexpr size_t most_commits = 1000;
	worker::Entry &entry = worker::self();
	pg_atomic_fetch_add_u64(&entry.events_filtered, (int64) (now.filtered - decoded_.filtered));
	if (now.last_commit > 0)
		pg_atomic_write_u64(&entry.sent_lsn, now.last_commit);
	if (now.last_commit_time != 0)
		pg_atomic_write_u64(&entry.last_event_at, (uint64) now.last_commit_time);
	if (committed != decoded_.last_commit && unstored_commits_.size() < most_commits)
		unstored_commits_.push_back({committed, now.last_commit_time});
	decoded_ = now;
}

// The commit time of what is stored, or the present if there is nothing else.
void Report::note_lag(core::Lsn safe)
{
	pg_atomic_uint64 &stored_at = worker::self().acknowledged_at;
	while (!unstored_commits_.empty() && unstored_commits_.front().lsn <= safe) {
		pg_atomic_write_u64(&stored_at, (uint64) unstored_commits_.front().time);
		unstored_commits_.pop_front();
	}
	if (safe >= GetFlushRecPtr(nullptr))
		pg_atomic_write_u64(&stored_at, (uint64) GetCurrentTimestamp());
}

void Report::stored(core::Lsn safe)
{
	worker::Entry &entry = worker::self();
	note_lag(safe);
	if (safe <= pg_atomic_read_u64(&entry.acknowledged_lsn))
		return;
	pg_atomic_write_u64(&entry.acknowledged_lsn, safe);
	pg::call([&] { ConditionVariableBroadcast(&entry.progress); });
}

} // namespace pgbraid::flow
