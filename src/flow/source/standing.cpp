#include "flow/source/standing.h"

#include "pg/wal.h"
#include "worker/process.h"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
}

#include <algorithm>
#include <array>
#include <functional>

namespace pgbraid::flow {

namespace {

constexpr int most_timelines = 64;

std::vector<core::Ancestor> ancestors()
{
	std::array<pg::PastTimeline, most_timelines> past;
	int count = pg::call([&] { return pg::past_timelines(past.data(), most_timelines); });
	std::vector<core::Ancestor> found;
	for (int i = 0; i < count; i++)
		found.push_back({past[(size_t) i].timeline, past[(size_t) i].end});
	return found;
}

core::Checkpoint known()
{
	worker::Entry &entry = worker::self();
	return {.lsn = 0,
			.sequence = pg_atomic_read_u64(&entry.stored_sequence),
			.position = {pg_atomic_read_u64(&entry.stored_lsn), pg_atomic_read_u64(&entry.stored_seq)}};
}

} // namespace

core::Epoch epoch_of(const catalog::Progress &progress)
{
	TimeLineID timeline = pg::call([] { return GetWALInsertionTimeLine(); });
	return {MyDatabaseId, worker::self().object, timeline, progress.generation + (progress.streaming ? 0 : 1)};
}

core::History history_of(const catalog::Progress &progress)
{
	return {GetSystemIdentifier(), core::to_text(epoch_of(progress))};
}

std::string name_of_stream(const nats::ConnectionOptions &connection, const std::string &stream)
{
	return std::to_string(std::hash<std::string>()(nats::printable(connection.urls) + ' ' + stream));
}

core::Standing standing_of(const catalog::Progress &progress, const core::StreamTail &tail)
{
	return {.system = GetSystemIdentifier(),
			.epoch = epoch_of(progress),
			.ancestors = ancestors(),
			.tail = tail,
			.wal_end = GetFlushRecPtr(nullptr),
			.first_sequence = progress.first_sequence,
			.settled = progress.settled,
			.known = known(),
			.before = {.sequence = progress.first_sequence, .position = progress.before}};
}

std::optional<core::Turn> turn_of(const catalog::Progress &progress, const std::string &stream)
{
	if (!progress.streaming || progress.stream != stream)
		return std::nullopt;
	remember_stream(stream, epoch_of(progress));
	return core::Turn{.system = GetSystemIdentifier(),
					  .epoch = epoch_of(progress),
					  .first_sequence = progress.first_sequence,
					  .message_before = progress.message_before,
					  .known = known().sequence,
					  .settled = progress.settled.sequence};
}

bool is_written_in(const std::vector<Oid> &databases, const std::string &stream)
{
	uint64 stream_hash = std::hash<std::string>()(stream);
	worker::Lock lock(worker::Lock::shared);
	return std::any_of(databases.begin(), databases.end(), [=](Oid database) {
		const worker::Entry *entry = worker::find(worker::Kind::flow, database, worker::self().object);
		return entry != nullptr && entry->pid != 0 && entry->stream_hash == stream_hash;
	});
}

void remember_stream(const std::string &stream, const core::Epoch &epoch)
{
	worker::Entry &entry = worker::self();
	std::hash<std::string> hash;
	uint64 stream_hash = hash(stream), epoch_hash = hash(core::to_text(epoch));
	if (std::exchange(entry.epoch_hash, epoch_hash) != epoch_hash) {
		remember({});
		pg_atomic_write_u64(&entry.acknowledged_lsn, 0);
	}
	if (std::exchange(entry.stream_hash, stream_hash) != stream_hash)
		pg_atomic_write_u64(&entry.stored_sequence, 0); // its position goes on to the next stream
}

void remember(const core::Checkpoint &stored)
{
	worker::Entry &entry = worker::self();
	pg_atomic_write_u64(&entry.stored_lsn, stored.position.lsn);
	pg_atomic_write_u64(&entry.stored_seq, stored.position.seq);
	pg_atomic_write_u64(&entry.stored_sequence, stored.sequence);
}

} // namespace pgbraid::flow
