#include "flow/source/confirmation.h"

#include "flow/source/standing.h"
#include "pg/transaction.h"
#include "pg/wal.h"
#include "settings/settings.h"

extern "C" {
#include "access/xact.h"
#include "utils/timestamp.h"
}

namespace pgbraid::flow {

core::Lsn Confirmation::update(const nats::Publisher::Progress &published, bool between_records)
{
	core::Lsn safe = safe_position(published, between_records);
	core::Checkpoint stored = {.lsn = safe,
							   .sequence = published.acknowledged_sequence,
							   .position = core::last_whole(published.acknowledged_position)};
	if (published.acknowledged_messages > 0)
		remember(stored);
	else
		stored = {safe, parts_.start.tail().sequence, parts_.start.stored()}; // of workers before this one
	bool may_write = between_records && !IsTransactionState();
	if (may_write)
		save_notes();
	TimestampTz now = GetCurrentTimestamp();
	if (now >= next_checkpoint_) {
		next_checkpoint_ = TimestampTzPlusMilliseconds(now, settings::flow_save_interval_ms());
		settling_.note(now, stored);
		if (may_write)
			settle(now);
	}
	return safe;
}

// The last commit whose events are all stored; or, when nothing is on its way, all that was read.
core::Lsn Confirmation::safe_position(const nats::Publisher::Progress &published, bool between_records) const
{
	if (between_records && published.unacknowledged_messages == 0 && parts_.outlet.is_empty())
		return parts_.reader.end();
	return published.complete_up_to;
}

// What must outlive this process before the slot, or the place of a snapshot, is noted beyond where it came from.
// Tables can't be written while the past is being decoded.
void Confirmation::save_notes()
{
	if (!parts_.schemas.has_unsaved() && !parts_.letters.has_unsaved())
		return;
	do // so as not to have all letters in memory at once
		pg::in_transaction("writing pgbraid.flow_schemas", [this] {
			parts_.schemas.save();
			parts_.letters.save_some();
		});
	while (parts_.letters.has_unsaved());
	noted_at_ = pg::last_commit_end();
}

// What is confirmed to the slot can't be published again: so first it is noted what the stream must have. A standby
// that takes over must know that too.
void Confirmation::settle(TimestampTz now)
{
	SlotReader &reader = parts_.reader;
	int64 horizon = settings::flow_horizon_ms() * INT64CONST(1000);
	if (to_confirm_ <= reader.confirmed()) {
		core::Lsn needed = parts_.backfill.needs_wal_from(now, horizon);
		auto settled = settling_.take_settled(now, horizon, needed > 0 ? needed : ~core::Lsn{0});
		if (!settled || settled->lsn <= reader.confirmed())
			return;
		note(*settled);
		to_confirm_ = settled->lsn;
		confirm_after_ = noted_at_;
	}
	if (!parts_.durability.reaches(confirm_after_))
		return; // another time
	reader.confirm(to_confirm_);
	reader.save();
}

void Confirmation::note(const core::Checkpoint &settled)
{
	if (settled.position.lsn == 0 || settled.sequence == parts_.progress.settled.sequence)
		return;
	pg::in_transaction("writing pgbraid.flow_progress", [&] {
		catalog::settle(parts_.flow, settled);
		catalog::prune_chunks(parts_.flow, settings::flow_horizon_ms());
	});
	noted_at_ = pg::last_commit_end();
	parts_.progress.settled = settled;
}

} // namespace pgbraid::flow
