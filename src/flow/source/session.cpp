#include "flow/source/session.h"

#include "catalog/branches.h"
#include "core/base/sqlstate.h"
#include "flow/source/standing.h"
#include "pg/transaction.h"
#include "pg/wal.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/timestamp.h"
}

#include <sys/eventfd.h>
#include <system_error>

namespace pgbraid::flow {

namespace {

// While there are changes to publish, pieces of a snapshot are this far apart.
constexpr int snapshot_pause_ms = 200;

// A table is locked, or a commit not yet visible.
constexpr long blocked_pause_ms = 20;

// So long a worker waits for the one of the branch that was left, and for word that its own branch is.
constexpr int handover_ms = 5 * 1000, word_ms = 1000;
constexpr long handover_pause_ms = 10;

// A worker that has streamed this long did not fail at the start.
constexpr int stable_ms = 10 * 1000;

Session *current = nullptr;

// What other sessions have committed is heard of in a transaction only, and none is needed while NATS is away.
void hear_of_changes()
{
	if (IsTransactionState()) {
		AcceptInvalidationMessages();
		return;
	}
	StartTransactionCommand();
	CommitTransactionCommand();
}

int make_event_fd()
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		throw std::system_error(errno, std::generic_category(), "could not create an eventfd");
	return fd;
}

catalog::Progress load_progress(int64 flow)
{
	return pg::in_transaction("reading pgbraid.flow_progress", [=] { return catalog::read_progress(flow); });
}

nats::PublisherOptions publisher_options(const Definition &definition, const catalog::Progress &progress)
{
	auto options = pg::in_transaction("looking up the tables of the publication",
									  [&] { return definition.publisher_options(history_of(progress)); });
	if (definition.flow.follows_family)
		options.turn = turn_of(progress, name_of_stream(definition.connection, definition.flow.stream));
	return options;
}

std::vector<Oid> other_databases_of_family()
{
	std::vector<Oid> others;
	pg::in_transaction("looking up the branches of the database", [&] {
		for (const catalog::Member &member : catalog::read_family(MyDatabaseId).members)
			if (member.oid != MyDatabaseId)
				others.push_back(member.oid);
	});
	return others;
}

void wait_callback(core::Lsn lsn)
{
	current->wait_for_wal(lsn);
}

} // namespace

Session::Session(catalog::Flow flow)
	: definition_(std::move(flow)), flow_(definition_.flow), progress_(load_progress(flow_.id)),
	  history_(history_of(progress_)), event_fd_(make_event_fd()), waiter_("PgbraidFlow", event_fd_),
	  publisher_(publisher_options(definition_, progress_), event_fd_),
	  outlet_(
		  publisher_, [this] { sleep(1000); }, [this] { service(); }),
	  encoder_(definition_.encoder_options(history_)), plans_(definition_.plan_options()),
	  announcer_(
		  pg::in_transaction("looking up a conversion",
							 [this] { return Announcer(definition_.announcements, definition_.database, history_); })),
	  schema_log_(flow_.id, progress_.generation + (progress_.streaming ? 0 : 1), definition_.schema_events()),
	  letters_(flow_.id), report_(flow_.name), start_(definition_, progress_,
													  {.wait_for_wal = wait_callback,
													   .await_tail = [this] { return await_tail(); },
													   .own_end = [this] { return publisher_.progress().own; },
													   .await_durable = [this] { await_durable(); }}),
	  durability_(flow_.name, settings::flow_wait_for_standbys(), settings::flow_wait_for_standbys() && flow_.failover),
	  configuration_(pg::configuration_generation()), touched_(pg_atomic_read_u32(&worker::self().touched))
{
	current = this;
}

// What a message may weigh is known once the publisher has been connected.
Decoder::Parts Session::parts()
{
	oversize_.emplace(definition_.oversize_mode(), history_, publisher_.progress().max_payload, start_.own_tail());
	return {.flow = flow_.id,
			.history = history_,
			.encoder = encoder_,
			.plans = plans_,
			.outlet = outlet_,
			.announcer = announcer_,
			.schemas = schema_log_,
			.oversize = *oversize_,
			.letters = letters_,
			.defined_since = progress_.revision_lsn};
}

Session::~Session()
{
	current = nullptr;
}

void Session::run()
{
	if (flow_.follows_family)
		await_handover();
	publisher_.start();
	start_.find();
	start_decoding();
	decode();
}

// What the worker of the branch before still publishes would be in our way, and ours in its. The stream bears it, but
// either would have to start again.
void Session::await_handover()
{
	std::string stream = name_of_stream(definition_.connection, flow_.stream);
	std::vector<Oid> others = other_databases_of_family();
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), handover_ms);
	while (is_written_in(others, stream) && GetCurrentTimestamp() < deadline)
		sleep(handover_pause_ms);
}

// On the first connection the publisher finds out where the stream ends.
core::StreamTail Session::await_tail()
{
	while (!publisher_.progress().tail)
		sleep(1000);
	return *publisher_.progress().tail;
}

void Session::start_decoding()
{
	pg::in_transaction("reading pgbraid.flow_schemas", [&] {
		schema_log_.load(start_.stored());
		letters_.forget_beyond(history_, start_.stored());
	});
	decoder_.emplace(parts(), start_.judged());
	backfill_.emplace(flow_.id, flow_.publication, load_progress(flow_.id).secret, *decoder_, outlet_,
					  Backfill::Callbacks{.await_empty = [this] { return await_empty(); },
										  .save_notes =
											  [this] {
												  schema_log_.save();
												  while (letters_.has_unsaved())
													  letters_.save_some();
											  },
										  .await_durable = [this] { await_durable(); }});
	backfill_->load();
	if (backfill_->must_begin())
		(void) backfill_->begin();
	backfill_->resume(start_.is_in_snapshot() ? start_.own_tail().snapshot : "", start_.judged());
	auto start = pg::in_transaction("reading pgbraid.flow_snapshots", [&] { return catalog::initial_start(flow_.id); });
	if (start)
		decoder_->begin_at(std::move(*start));
	reader_.emplace(start_.slot_name(), wait_callback);
	if (start_.must_meet_position(reader_->confirmed()))
		decoder_->must_meet_position();
	confirmation_.emplace(Confirmation::Parts{.flow = flow_.id,
											  .start = start_,
											  .progress = progress_,
											  .outlet = outlet_,
											  .reader = *reader_,
											  .schemas = schema_log_,
											  .letters = letters_,
											  .backfill = *backfill_,
											  .durability = durability_});
}

void Session::decode()
{
	stable_at_ = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), stable_ms);
	ereport(LOG, (errmsg("flow \"%s\" streams from slot \"%s\" to stream \"%s\"", flow_.name.c_str(),
						 start_.slot_name().c_str(), flow_.stream.c_str())));
	between_records_ = true;
	for (unsigned records = 0;; records++) {
		bool is_idle = !durability_.reaches(reader_->end() + 1);
		if (is_idle || records % 256 == 0)
			take_up_requests();
		if (shall_work(is_idle)) {
			bool worked = backfill_->work(reader_->end());
			TimestampTz now = GetCurrentTimestamp();
			next_work_ = TimestampTzPlusMilliseconds(now, snapshot_pause_ms);
			next_idle_work_ = worked ? now : TimestampTzPlusMilliseconds(now, blocked_pause_ms);
			continue;
		}
		if (is_idle)
			wait_for_wal(reader_->end() + 1);
		else if (records % 256 == 0)
			service();
		if (!durability_.reaches(reader_->end() + 1))
			continue; // woken for something else
		between_records_ = false;
		reader_->read();
		between_records_ = true;
		decoder_->record_read();
		if (decoder_->has_missed_position(reader_->end()))
			give_up_lost(flow_.name, restored_reason);
	}
}

// Somebody changed the catalog: a snapshot may have been asked for.
void Session::take_up_requests()
{
	uint32 touched = pg_atomic_read_u32(&worker::self().touched);
	if (std::exchange(touched_, touched) != touched && !backfill_->is_pending())
		backfill_->load();
}

bool Session::shall_work(bool is_idle) const
{
	return backfill_->can_work(reader_->end()) &&
		   GetCurrentTimestamp() >= (is_idle ? next_idle_work_ : Max(next_work_, next_idle_work_));
}

// While nobody is half way through a record.
bool Session::has_other_work() const
{
	return between_records_ && backfill_ &&
		   (pg_atomic_read_u32(&worker::self().touched) != touched_ || shall_work(true));
}

void Session::wait_for_wal(core::Lsn lsn)
{
	while (!durability_.reaches(lsn) && !has_other_work()) {
		outlet_.flush();
		pg_atomic_write_u32(&worker::self().wants_wake, 1);
		pg_memory_barrier();
		if (durability_.reaches(lsn))
			break;
		sleep(idle_timeout());
	}
	pg_atomic_write_u32(&worker::self().wants_wake, 0);
}

// Until what is in WAL now may be told: the stream must not know of what a crash or a failover can still undo. Hands
// nothing over to the publisher.
void Session::await_durable()
{
	for (core::Lsn end = Durability::flush(); !durability_.reaches(end);)
		sleep(durability_.look_again_ms());
}

long Session::idle_timeout() const
{
	if (backfill_ && backfill_->can_work(reader_->end()))
		return blocked_pause_ms;
	return durability_.look_again_ms();
}

void Session::sleep(long timeout_ms)
{
	service();
	waiter_.wait(timeout_ms);
	service();
}

uint64_t Session::await_empty()
{
	while (!outlet_.is_empty())
		sleep(1000);
	return publisher_.progress().acknowledged_sequence;
}

// All that is not decoding. Never blocks.
void Session::service()
{
	pg::call([] { pg::check_interrupts(); });
	nats::Publisher::Progress progress = publisher_.progress();
	check_publisher(progress);
	encoder_.limit_messages(progress.max_payload);
	report_.publishing(progress);
	if (decoder_)
		report_.decoding(decoder_->counters(), outlet_.committed());
	if (confirmation_)
		report_.stored(confirmation_->update(progress, between_records_));
	if (worker::stop_requested() && may_leave(progress))
		worker::leave(worker::State::stopped);
	if (!report_.is_healthy())
		pg::call([] { hear_of_changes(); });
	if ((pg::configuration_generation() != configuration_ || definition_.server_differs(report_.is_healthy())) &&
		may_leave(progress))
		worker::leave(worker::State::stopped); // the manager starts it again, with the new settings
	if (stable_at_ != 0 && GetCurrentTimestamp() >= stable_at_) {
		worker::recovered();
		stable_at_ = 0;
	}
}

// Another definition would not look again at a message that was put aside, and whose stub the stream has: so it is
// noted first, which can't be done in the middle of a transaction of the past. While NATS takes nothing that may never
// end.
bool Session::may_leave(const nats::Publisher::Progress &progress) const
{
	return between_records_ || !letters_.has_unsaved() || !progress.healthy;
}

void Session::check_publisher(const nats::Publisher::Progress &progress)
{
	if (progress.state != nats::Publisher::State::broken)
		return;
	// The stream went back: what it lost may be in WAL. A new worker looks; and who waits must wait again.
	bool went_back = progress.error->sqlstate == std::string_view(core::sqlstate::data_corrupted);
	if (went_back)
		pg_atomic_write_u64(&worker::self().acknowledged_lsn, 0);
	if (flow_.follows_family && progress.error->sqlstate == std::string_view(core::sqlstate::not_in_prerequisite_state))
		give_way();
	report_.publishing(progress);
	if (went_back)
		worker::leave(worker::State::stopped);
	throw pg::Failure(*progress.error);
}

// Somebody else writes: most likely another branch was checked out, and the manager is about to say so. If not, another
// worker looks who it is.
void Session::give_way()
{
	ereport(LOG, (errmsg("flow \"%s\" gives way to another writer of stream \"%s\"", flow_.name.c_str(),
						 flow_.stream.c_str())));
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), word_ms);
	while (!worker::stop_requested() && GetCurrentTimestamp() < deadline) {
		pg::call([] { pg::check_interrupts(); });
		waiter_.wait(handover_pause_ms);
	}
	worker::clear_trouble(worker::self()); // that of the refusal
	worker::leave(worker::State::stopped);
}

} // namespace pgbraid::flow
