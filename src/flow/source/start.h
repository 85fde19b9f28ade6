// Where a flow goes on when its worker starts: its slot, the end of its stream, and what is noted of both, taken
// together. Where they say that changes are gone, the flow is lost.
#pragma once
#include "core/flow/outbox.h"
#include "core/flow/resumption.h"
#include "flow/source/definition.h"
#include "flow/source/slot.h"

#include <functional>
#include <string>

namespace pgbraid::flow {

class Start {
public:
	// `await_tail` waits until the publisher has found the end of the stream, and `own_end` says what it has found of
	// ours by then. `await_durable` waits until what this session has written is safe. `progress` is kept up to date.
	struct Callbacks {
		WaitForWal wait_for_wal;
		std::function<core::StreamTail()> await_tail;
		std::function<std::optional<core::OwnEnd>()> own_end;
		std::function<void()> await_durable;
	};
	Start(const Definition &definition, catalog::Progress &progress, Callbacks callbacks);

	// Does not come back where the flow is lost. Throws where the stream has another writer.
	void find();

	const std::string &slot_name() const noexcept { return slot_name_; }
	const core::StreamTail &tail() const noexcept { return tail_; }

	// The last message of ours: the tail, unless others of the family write to the stream as well.
	const core::StreamTail &own_tail() const noexcept { return own_ ? own_->tail : tail_; }

	// Everything up to here is in the stream.
	core::Position stored() const noexcept { return found_.after; }

	// Everything up to here has been looked at by a worker before this one, perhaps by an earlier definition. What it
	// passed over is not looked at again.
	core::Position judged() const noexcept { return std::max(found_.after, passed_over_); }

	// Our last message is a row of a snapshot.
	bool is_in_snapshot() const noexcept { return found_.in_snapshot; }

	// If WAL from `confirmed` on does not have the event that the stream ends with, it is not the WAL that was
	// published.
	bool must_meet_position(core::Lsn confirmed) const noexcept
	{
		return found_.must_be_met && found_.after.lsn >= confirmed && passed_over_ < found_.after;
	}

private:
	void set_up_slot();
	void make_slot();
	void note_stream();
	void check_course() const;
	void tell_of_losses() const;
	void note_turn();
	[[noreturn]] void refuse_other_writer() const;
	void note_definition();
	void rewind_snapshots() const;

	const Definition &definition_;
	const catalog::Flow &flow_;
	catalog::Progress &progress_;
	Callbacks callbacks_;
	std::string slot_name_;
	core::StreamTail tail_;
	std::optional<core::OwnEnd> own_;
	core::Resumption found_;
	core::Position passed_over_;
};

// Changes that were made and can't be published any more are never passed over in silence: the state `lost`.
[[noreturn]] void give_up_lost(const std::string &flow, const char *reason);

inline constexpr char restored_reason[] =
	"the stream is ahead of this database, which has been restored to an older state";

} // namespace pgbraid::flow
