#include "flow/source/start.h"

#include "catalog/snapshots.h"
#include "core/base/sqlstate.h"
#include "flow/source/standing.h"
#include "pg/transaction.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "utils/builtins.h"
}

namespace pgbraid::flow {

namespace {

std::string literal(const std::string &text)
{
	return pg::call([&] { return quote_literal_cstr(text.c_str()); });
}

void warn(const std::string &message, const char *hint)
{
	worker::set_trouble(worker::self(), core::sqlstate::data_corrupted, message.c_str(), hint);
	ereport(WARNING, (errmsg("%s", message.c_str()), errhint("%s", hint)));
}

} // namespace

void give_up_lost(const std::string &flow, const char *reason)
{
	std::string message = "flow \"" + flow + "\" has lost changes: " + reason;
	worker::set_trouble(worker::self(), "55000", message.c_str(),
						("Start it anew with SELECT pgflow_resume(" + literal(flow) + ", restart => true);").c_str());
	ereport(LOG, (errmsg("%s", message.c_str())));
	worker::leave(worker::State::lost);
}

Start::Start(const Definition &definition, catalog::Progress &progress, Callbacks callbacks)
	: definition_(definition), flow_(definition.flow), progress_(progress), callbacks_(std::move(callbacks)),
	  slot_name_(catalog::slot_name(flow_.id))
{
}

void Start::find()
{
	set_up_slot();
	tail_ = callbacks_.await_tail();
	note_stream();
	core::Standing standing = standing_of(progress_, tail_);
	standing.follows_family = flow_.follows_family;
	standing.own = own_ = callbacks_.own_end();
	found_ = core::resume_after(standing);
	check_course();
	tell_of_losses();
	note_turn();
	note_definition();
	rewind_snapshots();
}

void Start::set_up_slot()
{
	allow_own_plugin();
	SlotState state = pg::in_transaction("looking for the slot", [&] { return find_slot(slot_name_); });
	if (progress_.streaming && state == SlotState::missing)
		give_up_lost(flow_.name, "its replication slot is gone");
	if (progress_.streaming && state == SlotState::invalidated)
		give_up_lost(flow_.name, "its replication slot has been invalidated: the WAL that it needs is gone");
	if (progress_.streaming) {
		set_failover(slot_name_, flow_.failover);
		return;
	}
	if (state != SlotState::missing)
		drop_slot(slot_name_); // of an attempt that did not come to its end
	make_slot();
}

// A slot made anew starts a new history: positions of the old one say nothing about it.
void Start::make_slot()
{
	progress_.generation++;
	pg::in_transaction("writing pgbraid.flow_progress", [&] {
		catalog::begin_generation(flow_.id, progress_.generation);
		catalog::reset_snapshots(flow_.id);
	});
	progress_.first_sequence =
		callbacks_.await_tail().sequence; // first, so as not to retain WAL while NATS has never been there
	create_slot(slot_name_, flow_.failover, callbacks_.wait_for_wal);
	progress_.stream = name_of_stream(definition_.connection, flow_.stream);
	progress_.settled = {};
	progress_.revision_lsn = progress_.revision_sequence = 0;
	progress_.streaming = pg::in_transaction("writing pgbraid.flow_progress", [&] {
		return catalog::begin_streaming(flow_.id, progress_.generation, progress_.stream, progress_.first_sequence);
	});
	if (!progress_.streaming)
		worker::leave(worker::State::stopped); // somebody has asked meanwhile to begin anew
	callbacks_.await_durable();
}

void Start::note_stream()
{
	std::string stream = name_of_stream(definition_.connection, flow_.stream);
	if (progress_.stream != stream) {
		progress_.stream = stream;
		progress_.first_sequence = 0;
		progress_.settled = {};
		progress_.revision_sequence = 0;
		pg::in_transaction("writing pgbraid.flow_progress",
						   [&] { catalog::change_stream(flow_.id, stream, tail_.sequence); });
	}
	remember_stream(stream, epoch_of(progress_));
}

void Start::check_course() const
{
	switch (found_.course) {
		case core::Course::go_on: break;
		case core::Course::lost: give_up_lost(flow_.name, "its stream no longer has messages that it had acknowledged");
		case core::Course::restored: give_up_lost(flow_.name, restored_reason);
		case core::Course::other_writer: refuse_other_writer();
	}
}

void Start::refuse_other_writer() const
{
	std::string of_whom = tail_.last ? ", of epoch " + tail_.last->history.epoch : "";
	throw pg::Failure(
		{.sqlstate = "55000",
		 .message = "stream \"" + flow_.stream + "\" has another writer",
		 .detail = "Its last message is " + std::to_string(tail_.sequence) + of_whom + ".",
		 .hint = "Give each flow a stream of its own: pgflow_alter(" + literal(flow_.name) + ", stream => '...')."});
}

void Start::tell_of_losses() const
{
	if (found_.went_back) {
		pg_atomic_write_u64(&worker::self().acknowledged_lsn, 0); // who waits must wait again
		warn("stream \"" + flow_.stream + "\" lost messages that it had acknowledged",
			 "They are published again, from WAL. Look after the NATS server's disk, or use replicas.");
	}
	if (found_.has_undone)
		warn("stream \"" + flow_.stream + "\" has events of commits that a failover or a recovery has undone",
			 "Let synchronous standbys confirm commits: flows wait for those.");
}

// Others have written since. Once we write as well, nothing but this tells where to look for what we had written
// before.
void Start::note_turn()
{
	if (!found_.begins_turn)
		return;
	progress_.first_sequence = tail_.sequence;
	progress_.message_before = own_ ? own_->message : 0;
	progress_.before = found_.after;
	pg::in_transaction("writing pgbraid.flow_progress",
					   [&] { catalog::begin_turn(flow_.id, tail_.sequence, progress_.message_before, found_.after); });
	callbacks_.await_durable();
}

// How far the definition before has come is in shared memory, which a crash would empty. What the stream has lost of it
// is judged by the present one.
void Start::note_definition()
{
	core::Lsn end = pg_atomic_read_u64(&worker::self().acknowledged_lsn);
	bool is_new = progress_.revision != flow_.revision;
	bool went_back = found_.went_back || tail_.sequence < progress_.revision_sequence;
	if (is_new || (went_back && progress_.revision_lsn > 0)) {
		progress_.revision_lsn = went_back ? 0 : std::max(progress_.revision_lsn, is_new ? end : 0);
		progress_.revision_sequence = tail_.sequence;
		pg::in_transaction("writing pgbraid.flow_progress", [&] {
			catalog::begin_revision(flow_.id, flow_.revision, progress_.revision_lsn, progress_.revision_sequence);
		});
	}
	// No record begins right before the end of another. Rows of a snapshot have their place there, and those are not
	// passed over.
	end = std::max(end, progress_.revision_lsn);
	if (!went_back && end > 0)
		passed_over_ = {end - 1, 0};
}

void Start::rewind_snapshots() const
{
	if (!pg::in_transaction("reading pgbraid.flow_snapshots", [&] {
			return catalog::rewind_snapshots(flow_.id, own_tail().sequence, settings::flow_horizon_ms());
		}))
		give_up_lost(flow_.name, "its stream no longer has rows of a snapshot that it had acknowledged");
}

} // namespace pgbraid::flow
