// What the slot may forget: what the stream has had for longer than the durability horizon, after what must outlive
// this process has been noted in tables.
#pragma once
#include "core/flow/settling.h"
#include "flow/source/backfill.h"
#include "flow/source/dead_letters.h"
#include "flow/source/durability.h"
#include "flow/source/outlet.h"
#include "flow/source/schema_log.h"
#include "flow/source/slot.h"
#include "flow/source/start.h"

namespace pgbraid::flow {

class Confirmation {
public:
	struct Parts {
		int64 flow;
		const Start &start;
		catalog::Progress &progress;
		const Outlet &outlet;
		SlotReader &reader;
		SchemaLog &schemas;
		DeadLetters &letters;
		Backfill &backfill;
		Durability &durability;
	};
	explicit Confirmation(const Parts &parts) : parts_(parts) {}

	// Takes in what the publisher has to say, notes and confirms what is due. Nothing is written in the middle of a
	// record or of a transaction. Returns up to where everything that was committed is stored, or was nothing to
	// publish.
	core::Lsn update(const nats::Publisher::Progress &published, bool between_records);

private:
	core::Lsn safe_position(const nats::Publisher::Progress &published, bool between_records) const;
	void save_notes();
	void settle(TimestampTz now);
	void note(const core::Checkpoint &settled);

	Parts parts_;
	core::Settling settling_;
	TimestampTz next_checkpoint_ = 0;
	core::Lsn noted_at_ = 0;					   // what was noted last is in WAL up to here
	core::Lsn to_confirm_ = 0, confirm_after_ = 0; // to the slot, once WAL is durable up to the latter
};

} // namespace pgbraid::flow
