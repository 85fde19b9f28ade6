#include "flow/source/session.h"

#include "core/base/sqlstate.h"
#include "core/flow/json.h"
#include "flow/source/server.h"
#include "flow/source/standing.h"
#include "flow/source/subjects.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
#include "pg/wal.h"
#include "settings/settings.h"
#include "worker/process.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <sys/eventfd.h>
#include <system_error>

namespace pgbraid::flow {

namespace {

// Nothing wakes a flow for what other databases write, nor when WAL of asynchronous commits reaches the disk.
constexpr long idle_ms = 100, undurable_ms = 10;

// While there are changes to publish, pieces of a snapshot are this far apart.
constexpr int snapshot_pause_ms = 200;

// A table is locked, or a commit not yet visible.
constexpr long blocked_pause_ms = 20;

// A worker that has streamed this long did not fail at the start.
constexpr int stable_ms = 10 * 1000;

constexpr char restored[] = "the stream is ahead of this database, which has been restored to an older state";

Session *current = nullptr;
bool server_changed = false;

void watch_servers()
{
	static bool watched = false;
	if (std::exchange(watched, true))
		return;
	for (auto cache : {FOREIGNSERVEROID, FOREIGNSERVERNAME, USERMAPPINGOID, USERMAPPINGUSERSERVER})
		CacheRegisterSyscacheCallback(
			cache, [](Datum, int, uint32) { server_changed = true; }, 0);
}

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

std::string name_of_database()
{
	return pg::in_transaction("starting",
							  [] { return pg::to_utf8(pg::call([] { return get_database_name(MyDatabaseId); })); });
}

std::string literal(const std::string &text)
{
	return pg::call([&] { return quote_literal_cstr(text.c_str()); });
}

core::SubjectTemplate subject_template(const catalog::Flow &flow)
{
	return pg::take(core::SubjectTemplate::parse(flow.subject));
}

nats::ConnectionOptions look_up_connection(const catalog::Flow &flow, const std::string &database)
{
	nats::ConnectionOptions connection = connection_options(flow.server, flow.owner);
	core::Bytes name;
	name.append("pgbraid flow " + pg::to_utf8(flow.name) + " of database " + database);
	core::repair_utf8(name, 0);
	connection.name = name.view();
	return connection;
}

// Empty where no column is hashed.
std::string look_up_mask_key(const catalog::Flow &flow)
{
	bool is_needed = std::any_of(flow.columns.begin(), flow.columns.end(),
								 [](const catalog::ColumnRule &rule) { return rule.mask == "hash"; });
	if (!is_needed)
		return {};
	std::string key = mask_key(flow.server, flow.owner);
	if (key.empty())
		throw pg::Failure({.sqlstate = "HV00D",
						   .message = "a column is masked by hash, but there is no mask_key",
						   .hint = "ALTER USER MAPPING ... SERVER ... OPTIONS (ADD mask_key '...');"});
	return key;
}

nats::PublisherOptions publisher_options(const catalog::Flow &flow, const std::string &database,
										 const catalog::Progress &progress)
{
	pg::call([] { watch_servers(); });
	server_changed = false;
	return pg::in_transaction("looking up the NATS server", [&] {
		nats::PublisherOptions options;
		options.connection = look_up_connection(flow, database);
		options.stream = {.name = flow.stream,
						  .description = options.connection.name,
						  .subjects = subjects_of(flow.publication, subject_template(flow), database),
						  .replicas = (int) flow.replicas};
		options.history = history_of(progress);
		Announcer announcer(catalog::read_announcements(flow.id), database, options.history);
		for (std::string &subject : announcer.subjects())
			options.stream.subjects.push_back(std::move(subject));
		options.message_id = flow.message_id;
		return options;
	});
}

SchemaEvents schema_events_of(const std::string &option)
{
	return option == "all" ? SchemaEvents::all : option == "none" ? SchemaEvents::none : SchemaEvents::changes;
}

core::OversizeMode oversize_mode_of(const std::string &option)
{
	return option == "stop"			 ? core::OversizeMode::stop
		   : option == "dead_letter" ? core::OversizeMode::dead_letter
									 : core::OversizeMode::split;
}

catalog::Announcements load_announcements(int64 flow)
{
	return pg::in_transaction("reading pgbraid.flows", [=] { return catalog::read_announcements(flow); });
}

catalog::Progress load_progress(int64 flow)
{
	return pg::in_transaction("reading pgbraid.flow_progress", [=] { return catalog::read_progress(flow); });
}

void wait_callback(core::Lsn lsn)
{
	current->wait_for_wal(lsn);
}

} // namespace

Session::Session(catalog::Flow flow)
	: flow_(std::move(flow)), slot_name_(catalog::slot_name(flow_.id)), database_(name_of_database()),
	  progress_(load_progress(flow_.id)), event_fd_(make_event_fd()), waiter_("PgbraidFlow", event_fd_),
	  publisher_(
		  [this] {
			  nats::PublisherOptions options = publisher_options(flow_, database_, progress_);
			  connection_ = options.connection;
			  return options;
		  }(),
		  event_fd_),
	  outlet_(
		  publisher_, [this] { sleep(1000); }, [this] { service(); }),
	  history_(history_of(progress_)), schema_log_(flow_.id, progress_.generation + (progress_.streaming ? 0 : 1),
												   schema_events_of(load_announcements(flow_.id).schema_events)),
	  letters_(flow_.id), report_(flow_.name), configuration_(pg::configuration_generation()),
	  touched_(pg_atomic_read_u32(&worker::self().touched))
{
	current = this;
	std::string name; // conversion needs a transaction
	pg::in_transaction("looking up the mask key", [&] {
		mask_key_ = look_up_mask_key(flow_);
		name = pg::to_utf8(flow_.name);
	});
	if (!mask_key_.empty())
		hmac_.emplace(mask_key_);
	plans_.emplace(PlanOptions{.publication = flow_.publication.c_str(),
							   .own_publication = flow_.owns_publication,
							   .sort_columns = flow_.format == "rows",
							   .rules = &flow_.columns,
							   .filters = &flow_.filters,
							   .hmac = hmac_ ? &*hmac_ : nullptr});
	encoder_.emplace(EncoderOptions{.format = format_named(flow_.format),
									.subject = subject_template(flow_),
									.database = database_,
									.flow = std::move(name),
									.history = history_of(progress_),
									.rows_per_message = (std::size_t) flow_.rows_per_message});
	pg::in_transaction("starting", [this] {
		catalog::Announcements announcements = catalog::read_announcements(flow_.id);
		oversize_mode_ = oversize_mode_of(announcements.oversize);
		announcer_.emplace(std::move(announcements), database_, history_);
	});
}

// What a message may weigh is known once the publisher has been connected.
Decoder::Parts Session::parts()
{
	nats::Publisher::Progress progress = publisher_.progress();
	oversize_.emplace(oversize_mode_, history_, progress.max_payload, *progress.tail);
	return {.flow = flow_.id,
			.history = history_,
			.encoder = *encoder_,
			.plans = *plans_,
			.outlet = outlet_,
			.announcer = *announcer_,
			.schemas = schema_log_,
			.oversize = *oversize_,
			.letters = letters_};
}

Session::~Session()
{
	current = nullptr;
}

void Session::run()
{
	publisher_.start();
	set_up_slot();
	wait_for_stream();
	core::Resumption found = find_course();
	check_course(found);
	rewind_snapshots();
	start_decoding(found);
	decode();
}

void Session::set_up_slot()
{
	allow_own_plugin();
	SlotState state = pg::in_transaction("looking for the slot", [&] { return find_slot(slot_name_); });
	if (progress_.streaming && state == SlotState::missing)
		give_up_lost("its replication slot is gone");
	if (progress_.streaming && state == SlotState::invalidated)
		give_up_lost("its replication slot has been invalidated: the WAL that it needs is gone");
	if (progress_.streaming)
		return;
	if (state != SlotState::missing)
		drop_slot(slot_name_); // of an attempt that did not come to its end
	make_slot();
}

// Changes that were made and can't be published any more are never passed over in silence.
void Session::give_up_lost(const char *reason)
{
	std::string message = "flow \"" + flow_.name + "\" has lost changes: " + reason;
	worker::set_trouble(
		worker::self(), "55000", message.c_str(),
		("Start it anew with SELECT pgflow_resume(" + literal(flow_.name) + ", restart => true);").c_str());
	ereport(LOG, (errmsg("%s", message.c_str())));
	worker::leave(worker::State::lost);
}

// A slot made anew starts a new history: positions of the old one say nothing about it.
void Session::make_slot()
{
	progress_.generation++;
	pg::in_transaction("writing pgbraid.flow_progress", [&] {
		catalog::begin_generation(flow_.id, progress_.generation);
		catalog::reset_snapshots(flow_.id);
	});
	wait_for_stream(); // so as not to retain WAL while NATS has never been there
	create_slot(slot_name_, wait_callback);
	progress_.stream = name_of_stream(connection_, flow_.stream);
	progress_.first_sequence = publisher_.progress().tail->sequence;
	progress_.settled = {};
	progress_.streaming = pg::in_transaction("writing pgbraid.flow_progress", [&] {
		return catalog::begin_streaming(flow_.id, progress_.generation, progress_.stream, progress_.first_sequence);
	});
	if (!progress_.streaming)
		worker::leave(worker::State::stopped); // somebody has asked meanwhile to begin anew
}

// On the first connection the publisher finds out where the stream ends.
void Session::wait_for_stream()
{
	while (!publisher_.progress().tail)
		sleep(1000);
}

core::Resumption Session::find_course()
{
	const core::StreamTail tail = *publisher_.progress().tail;
	std::string stream = name_of_stream(connection_, flow_.stream);
	if (progress_.stream != stream) {
		progress_.stream = stream;
		progress_.first_sequence = 0;
		progress_.settled = {};
		pg::in_transaction("writing pgbraid.flow_progress",
						   [&] { catalog::change_stream(flow_.id, stream, tail.sequence); });
	}
	remember_stream(stream, epoch_of(progress_));
	return core::resume_after(standing_of(progress_, tail));
}

void Session::check_course(const core::Resumption &found)
{
	switch (found.course) {
		case core::Course::go_on: break;
		case core::Course::lost: give_up_lost("its stream no longer has messages that it had acknowledged");
		case core::Course::restored: give_up_lost(restored);
		case core::Course::other_writer: refuse_other_writer();
	}
	if (found.went_back) {
		pg_atomic_write_u64(&worker::self().acknowledged_lsn, 0); // who waits must wait again
		std::string message = "stream \"" + flow_.stream + "\" lost messages that it had acknowledged";
		const char *hint = "They are published again, from WAL. Look after the NATS server's disk, or use replicas.";
		worker::set_trouble(worker::self(), core::sqlstate::data_corrupted, message.c_str(), hint);
		ereport(WARNING, (errmsg("%s", message.c_str()), errhint("%s", hint)));
	}
	if (found.has_undone) {
		std::string message =
			"stream \"" + flow_.stream + "\" has events of commits that a failover or a recovery has undone";
		const char *hint = "Let synchronous standbys confirm commits: flows wait for those.";
		worker::set_trouble(worker::self(), core::sqlstate::data_corrupted, message.c_str(), hint);
		ereport(WARNING, (errmsg("%s", message.c_str()), errhint("%s", hint)));
	}
}

void Session::refuse_other_writer() const
{
	const core::StreamTail tail = *publisher_.progress().tail;
	throw pg::Failure(
		{.sqlstate = "55000",
		 .message = "stream \"" + flow_.stream + "\" has another writer",
		 .detail =
			 "Its last message is " + std::to_string(tail.sequence) + ", of epoch " + tail.last->history.epoch + ".",
		 .hint = "Give each flow a stream of its own: pgflow_alter(" + literal(flow_.name) + ", stream => '...')."});
}

void Session::rewind_snapshots()
{
	uint64 sequence = publisher_.progress().tail->sequence;
	if (!pg::in_transaction("reading pgbraid.flow_snapshots",
							[&] { return catalog::rewind_snapshots(flow_.id, sequence, settings::flow_horizon_ms()); }))
		give_up_lost("its stream no longer has rows of a snapshot that it had acknowledged");
}

// What a worker before this one has passed over, with options that may be no more, is not looked at again. (Known while
// the server runs.)
core::Position Session::passed_over(const core::Resumption &found) const
{
	core::Lsn end = pg_atomic_read_u64(&worker::self().acknowledged_lsn);
	return found.went_back || end == 0 ? core::Position{} : core::Position{end - 1, ~uint64_t{0}};
}

void Session::start_decoding(const core::Resumption &found)
{
	const core::StreamTail tail = *publisher_.progress().tail;
	found_ = {.lsn = 0, .sequence = tail.sequence, .position = found.after};
	pg::in_transaction("reading pgbraid.flow_schemas", [&] { schema_log_.load(found.after); });
	decoder_.emplace(parts(), std::max(found.after, passed_over(found)));
	backfill_.emplace(flow_.id, flow_.publication, load_progress(flow_.id).secret, *decoder_, outlet_,
					  Backfill::Callbacks{.await_empty = [this] { return await_empty(); },
										  .save_notes =
											  [this] {
												  schema_log_.save();
												  letters_.save();
											  }});
	backfill_->load();
	if (backfill_->must_begin())
		(void) backfill_->begin();
	backfill_->resume(found.in_snapshot ? tail.snapshot : "", found.after);
	auto start = pg::in_transaction("reading pgbraid.flow_snapshots", [&] { return catalog::initial_start(flow_.id); });
	if (start)
		decoder_->begin_at(std::move(*start));
	reader_.emplace(slot_name_, wait_callback);
	if (found.must_be_met && found.after.lsn >= reader_->confirmed() && passed_over(found) < found.after)
		decoder_->must_meet_position();
}

void Session::decode()
{
	stable_at_ = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), stable_ms);
	ereport(LOG, (errmsg("flow \"%s\" streams from slot \"%s\" to stream \"%s\"", flow_.name.c_str(),
						 slot_name_.c_str(), flow_.stream.c_str())));
	between_records_ = true;
	for (unsigned records = 0;; records++) {
		bool is_idle = has_read_all();
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
		if (has_read_all())
			continue; // woken for something else
		between_records_ = false;
		reader_->read();
		between_records_ = true;
		decoder_->record_read();
		if (decoder_->has_missed_position(reader_->end()))
			give_up_lost(restored);
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
	while (durable_end() < lsn && !has_other_work()) {
		outlet_.flush();
		pg_atomic_write_u32(&worker::self().wants_wake, 1);
		pg_memory_barrier();
		if (durable_end() >= lsn)
			break;
		sleep(idle_timeout());
	}
	pg_atomic_write_u32(&worker::self().wants_wake, 0);
}

core::Lsn Session::durable_end() const
{
	return pg::durable_wal_end(settings::flow_wait_for_standbys());
}

long Session::idle_timeout() const
{
	if (backfill_ && backfill_->can_work(reader_->end()))
		return blocked_pause_ms;
	return GetXLogInsertRecPtr() > durable_end() ? undurable_ms : idle_ms;
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

// Has somebody altered the foreign server or a user mapping? The catalog can't be asked while a transaction of the past
// is being decoded; but if NATS does not take its changes, the worker might wait here for ever.
bool Session::server_differs()
{
	if (!server_changed || flow_.server.empty())
		return false;
	if (IsTransactionState())
		return !report_.is_healthy();
	server_changed = false;
	return pg::in_transaction("looking up the NATS server", [&] {
		return connection_ != look_up_connection(flow_, database_) || mask_key_ != look_up_mask_key(flow_);
	});
}

// All that is not decoding. Never blocks.
void Session::service()
{
	pg::call([] { pg::check_interrupts(); });
	nats::Publisher::Progress progress = publisher_.progress();
	check_publisher(progress);
	encoder_->limit_messages(progress.max_payload);
	report_.publishing(progress);
	if (decoder_)
		report_.decoding(decoder_->counters(), outlet_.committed());
	if (reader_)
		confirm(progress);
	if (worker::stop_requested())
		worker::leave(worker::State::stopped);
	if (!report_.is_healthy())
		pg::call([] { hear_of_changes(); });
	if (pg::configuration_generation() != configuration_ || server_differs())
		worker::leave(worker::State::stopped); // the manager starts it again, with the new settings
	if (stable_at_ != 0 && GetCurrentTimestamp() >= stable_at_) {
		worker::recovered();
		stable_at_ = 0;
	}
}

void Session::check_publisher(const nats::Publisher::Progress &progress)
{
	if (progress.state != nats::Publisher::State::broken)
		return;
	// The stream went back: what it lost may be in WAL. A new worker looks; and who waits must wait again.
	bool went_back = progress.error->sqlstate == std::string_view(core::sqlstate::data_corrupted);
	if (went_back)
		pg_atomic_write_u64(&worker::self().acknowledged_lsn, 0);
	report_.publishing(progress);
	if (went_back)
		worker::leave(worker::State::stopped);
	throw pg::Failure(*progress.error);
}

// What can be confirmed: the last commit whose events are all stored; or, when nothing is on its way, all that was
// read.
core::Lsn Session::safe_position(const nats::Publisher::Progress &progress) const
{
	if (between_records_ && progress.unacknowledged_messages == 0 && outlet_.is_empty())
		return reader_->end();
	return progress.complete_up_to;
}

// What must outlive this process before the slot, or the place of a snapshot, is noted beyond where it came from.
// Tables can't be written while the past is being decoded.
void Session::save_notes()
{
	if (schema_log_.unsaved_since() == SchemaLog::nothing && letters_.unsaved_since() == SchemaLog::nothing)
		return;
	pg::in_transaction("writing pgbraid.flow_schemas", [this] {
		schema_log_.save();
		letters_.save();
	});
}

void Session::confirm(const nats::Publisher::Progress &progress)
{
	core::Lsn safe = safe_position(progress);
	core::Checkpoint stored = {.lsn = safe,
							   .sequence = progress.acknowledged_sequence,
							   .position = core::last_whole(progress.acknowledged_position)};
	if (progress.acknowledged_messages > 0)
		remember(stored);
	else
		stored = {safe, found_.sequence, found_.position}; // of workers before this one
	report_.stored(safe);
	if (between_records_ && !IsTransactionState())
		save_notes();
	TimestampTz now = GetCurrentTimestamp();
	if (now < next_checkpoint_)
		return;
	next_checkpoint_ = TimestampTzPlusMilliseconds(now, settings::flow_save_interval_ms());
	settling_.note(now, stored);
	if (between_records_ && !IsTransactionState())
		settle();
}

// What is confirmed to the slot can't be published again: so first it is noted what the stream must have.
void Session::settle()
{
	TimestampTz now = GetCurrentTimestamp();
	int64 horizon = settings::flow_horizon_ms() * INT64CONST(1000);
	core::Lsn needed = backfill_->needs_wal_from(now, horizon);
	auto settled = settling_.take_settled(now, horizon, needed > 0 ? needed : ~core::Lsn{0});
	if (!settled || settled->lsn <= reader_->confirmed())
		return;
	if (settled->position.lsn > 0 && settled->sequence != progress_.settled.sequence) {
		pg::in_transaction("writing pgbraid.flow_progress", [&] {
			catalog::settle(flow_.id, *settled);
			catalog::prune_chunks(flow_.id, settings::flow_horizon_ms());
		});
		progress_.settled = *settled;
	}
	reader_->confirm(settled->lsn);
	reader_->save();
}

} // namespace pgbraid::flow
