#include "flow/source/session.h"

#include "core/base/sqlstate.h"
#include "core/flow/epoch.h"
#include "core/flow/json.h"
#include "flow/source/server.h"
#include "flow/source/snapshot.h"
#include "pg/encoding.h"
#include "pg/transaction.h"
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

#include <sys/eventfd.h>
#include <system_error>

namespace pgbraid::flow {

namespace {

// Nothing wakes a flow for what other databases write, nor when WAL of asynchronous commits reaches the disk.
constexpr long idle_ms = 100, unflushed_ms = 10;

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

// A slot made anew starts a new history: positions of the old one say nothing about it.
core::History history_of(const catalog::Progress &progress, bool slot_will_be_made)
{
	TimeLineID timeline = pg::call([] { return GetWALInsertionTimeLine(); });
	int64 generation = progress.generation + (slot_will_be_made ? 1 : 0);
	return {GetSystemIdentifier(), core::to_text({MyDatabaseId, worker::self().object, timeline, generation})};
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
		options.history = history_of(progress, !progress.streaming);
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

void save_progress(int64 flow, const catalog::Progress &progress)
{
	pg::in_transaction("writing pgbraid.flow_progress", [&] { catalog::write_progress(flow, progress); });
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
	  history_(history_of(progress_, !progress_.streaming)),
	  schema_log_(flow_.id, progress_.generation + (progress_.streaming ? 0 : 1),
				  schema_events_of(load_announcements(flow_.id).schema_events)),
	  letters_(flow_.id), configuration_(pg::configuration_generation())
{
	current = this;
	plans_.emplace(PlanOptions{.publication = flow_.publication.c_str(),
							   .own_publication = flow_.owns_publication,
							   .sort_columns = flow_.format == "rows"});
	encoder_.emplace(flow_.format == "rows" ? Format::rows : Format::json, subject_template(flow_), database_,
					 history_);
	pg::in_transaction("starting", [this] {
		catalog::Announcements announcements = catalog::read_announcements(flow_.id);
		oversize_mode_ = oversize_mode_of(announcements.oversize);
		announcer_.emplace(std::move(announcements), database_, history_);
		schema_log_.load();
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
	check_tail();
	decoder_.emplace(parts(), stored_position());
	reader_.emplace(slot_name_, wait_callback);
	if (stored_position().lsn >= GetFlushRecPtr(nullptr))
		give_up_lost(restored);
	decoder_->must_meet_position(reader_->confirmed());
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

void Session::make_slot()
{
	is_new_ = true;
	progress_.generation++;
	save_progress(flow_.id, progress_);
	bool with_snapshot = flow_.snapshot == "initial";
	if (with_snapshot)
		wait_for_stream(); // so as not to hold a snapshot while NATS is away
	pg::in_new_transaction(
		"making the slot", [&] { return create_slot(slot_name_, wait_callback); },
		[&](core::Lsn lsn) {
			if (with_snapshot)
				send_snapshot(lsn);
		});
	keep_slot();
	progress_.streaming = pg::in_transaction("writing pgbraid.flow_progress", [&] {
		schema_log_.save();
		letters_.save();
		return catalog::finish_progress(flow_.id, progress_.generation);
	});
	if (!progress_.streaming)
		worker::leave(worker::State::stopped); // and begin anew
}

void Session::send_snapshot(core::Lsn lsn)
{
	worker::set_state(worker::State::snapshotting);
	Decoder decoder(parts(), {});
	TimestampTz now = GetCurrentTimestamp();
	encoder_->start_transaction(lsn, InvalidTransactionId, now);
	announcer_->start_transaction(lsn, InvalidTransactionId, now);
	publish_snapshot(decoder, flow_.publication, lsn,
					 [](uint64_t rows) { pg_atomic_write_u64(&worker::self().rows_snapshotted, rows); });
	outlet_.flush();
	while (!outlet_.is_empty())
		sleep(1000);
}

// On the first connection the publisher finds out where the stream ends.
void Session::wait_for_stream()
{
	while (!publisher_.progress().tail)
		sleep(1000);
}

// A flow that has streamed before finds its own last message at the end of the stream, or that of its predecessor.
void Session::check_tail()
{
	const core::StreamTail tail = *publisher_.progress().tail;
	if (tail.last && !is_new_)
		check_writer(tail);
	core::History history = history_of(progress_, false);
	worker::Entry &entry = worker::self();
	uint64 hash =
		std::hash<std::string>()(nats::printable(connection_.urls) + ' ' + flow_.stream + ' ' + history.epoch);
	uint64 stored = std::exchange(entry.stream_hash, hash) == hash ? pg_atomic_read_u64(&entry.stored_sequence) : 0;
	pg_atomic_write_u64(&entry.stored_sequence, stored);
	if (stored > 0 && (tail.sequence < stored || (tail.last && tail.last->history != history)))
		give_up_lost("its stream no longer has messages that it had acknowledged");
}

void Session::check_writer(const core::StreamTail &tail) const
{
	const core::History &writer = tail.last->history;
	auto theirs = core::parse_epoch(writer.epoch), ours = core::parse_epoch(history_of(progress_, false).epoch);
	bool is_ours = writer.system == GetSystemIdentifier() && theirs && theirs->is_same_flow(*ours) &&
				   !theirs->is_later_than(*ours);
	if (!is_ours)
		throw pg::Failure(
			{.sqlstate = "55000",
			 .message = "stream \"" + flow_.stream + "\" has another writer",
			 .detail = "Its last message is " + std::to_string(tail.sequence) + ", of epoch " + writer.epoch + ".",
			 .hint =
				 "Give each flow a stream of its own: pgflow_alter(" + literal(flow_.name) + ", stream => '...')."});
}

core::Position Session::stored_position() const
{
	auto tail = publisher_.progress().tail;
	bool ours = tail && tail->last && tail->last->history == history_of(progress_, false);
	return ours ? tail->last->position : core::Position{};
}

void Session::decode()
{
	worker::set_state(worker::State::streaming);
	stable_at_ = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), stable_ms);
	ereport(LOG, (errmsg("flow \"%s\" streams from slot \"%s\" to stream \"%s\"", flow_.name.c_str(),
						 slot_name_.c_str(), flow_.stream.c_str())));
	between_records_ = true;
	for (unsigned records = 0;; records++) {
		if (reader_->end() >= GetFlushRecPtr(nullptr))
			wait_for_wal(reader_->end() + 1);
		else if (records % 256 == 0)
			service();
		between_records_ = false;
		reader_->read();
		between_records_ = true;
		decoder_->record_read();
		if (decoder_->has_missed_position(reader_->end()))
			give_up_lost(restored);
	}
}

void Session::wait_for_wal(core::Lsn lsn)
{
	while (GetFlushRecPtr(nullptr) < lsn) {
		outlet_.flush();
		pg_atomic_write_u32(&worker::self().wants_wake, 1);
		pg_memory_barrier();
		if (GetFlushRecPtr(nullptr) >= lsn)
			break;
		sleep(idle_timeout());
	}
	pg_atomic_write_u32(&worker::self().wants_wake, 0);
}

long Session::idle_timeout() const
{
	return GetXLogInsertRecPtr() > GetFlushRecPtr(nullptr) ? unflushed_ms : idle_ms;
}

void Session::sleep(long timeout_ms)
{
	service();
	waiter_.wait(timeout_ms);
	service();
}

// Has somebody altered the foreign server or a user mapping? The catalog can't be asked while a transaction of the past
// is being decoded; but if NATS does not take its changes, the worker might wait here for ever.
bool Session::server_differs()
{
	if (!server_changed || flow_.server.empty())
		return false;
	if (IsTransactionState())
		return !was_healthy_;
	server_changed = false;
	return connection_ !=
		   pg::in_transaction("looking up the NATS server", [&] { return look_up_connection(flow_, database_); });
}

// All that is not decoding. Never blocks.
void Session::service()
{
	pg::call([] { pg::check_interrupts(); });
	nats::Publisher::Progress progress = publisher_.progress();
	report(progress);
	confirm(progress);
	if (worker::stop_requested())
		worker::leave(worker::State::stopped);
	if (!was_healthy_)
		pg::call([] { hear_of_changes(); });
	if (pg::configuration_generation() != configuration_ || server_differs())
		worker::leave(worker::State::stopped); // the manager starts it again, with the new settings
	if (stable_at_ != 0 && GetCurrentTimestamp() >= stable_at_) {
		worker::recovered();
		stable_at_ = 0;
	}
	if (progress.state == nats::Publisher::State::broken &&
		progress.error->sqlstate == std::string_view(core::sqlstate::data_corrupted))
		give_up_lost(progress.error->message.c_str());
	if (progress.state == nats::Publisher::State::broken)
		throw pg::Failure(*progress.error);
}

void Session::report(const nats::Publisher::Progress &progress)
{
	worker::Entry &entry = worker::self();
	report_trouble(progress);
	pg_atomic_fetch_add_u64(&entry.retries, (int64) (progress.retries - reported_retries_));
	reported_retries_ = progress.retries;
	pg_atomic_fetch_add_u64(&entry.events_published, (int64) (progress.acknowledged_messages - reported_published_));
	reported_published_ = progress.acknowledged_messages;
	if (reader_ && progress.acknowledged_messages > 0)
		pg_atomic_write_u64(&entry.stored_sequence, progress.acknowledged_sequence);
	if (!decoder_)
		return;
	const Decoder::Counters &now = decoder_->counters();
	pg_atomic_fetch_add_u64(&entry.events_filtered, (int64) (now.filtered - reported_.filtered));
	if (now.last_commit > 0)
		pg_atomic_write_u64(&entry.sent_lsn, now.last_commit);
	if (now.last_commit_time != 0)
		pg_atomic_write_u64(&entry.last_event_at, (uint64) now.last_commit_time);
	if (outlet_.committed() != reported_.last_commit && unacknowledged_commits_.size() < 1000)
		unacknowledged_commits_.push_back({outlet_.committed(), now.last_commit_time});
	reported_ = now;
}

void Session::report_trouble(const nats::Publisher::Progress &progress)
{
	if (progress.errors != reported_errors_ && progress.error) {
		reported_errors_ = progress.errors;
		worker::set_trouble(worker::self(), progress.error->sqlstate, progress.error->message.c_str(),
							progress.error->hint.c_str());
		if (was_healthy_ || reported_errors_ == 1)
			ereport(LOG, (errmsg("flow \"%s\" can't publish: %s", flow_.name.c_str(), progress.error->message.c_str()),
						  progress.error->hint.empty() ? 0 : errhint("%s", progress.error->hint.c_str())));
	}
	if (progress.healthy && !was_healthy_) {
		ereport(LOG, (errmsg("flow \"%s\" is connected to %s", flow_.name.c_str(), progress.connected_url.c_str())));
	}
	was_healthy_ = progress.healthy;
}

// What can be confirmed: the last commit whose events are all stored; or, when nothing is on its way, all that was
// read.
core::Lsn Session::safe_position(const nats::Publisher::Progress &progress) const
{
	if (between_records_ && progress.unacknowledged_messages == 0 && outlet_.is_empty())
		return reader_->end();
	return progress.complete_up_to;
}

// For stat_flow.lag: the commit time of what is stored, or the present if there is nothing else.
void Session::note_lag(core::Lsn safe)
{
	pg_atomic_uint64 &stored_at = worker::self().acknowledged_at;
	while (!unacknowledged_commits_.empty() && unacknowledged_commits_.front().lsn <= safe) {
		pg_atomic_write_u64(&stored_at, (uint64) unacknowledged_commits_.front().time);
		unacknowledged_commits_.pop_front();
	}
	if (safe >= GetFlushRecPtr(nullptr))
		pg_atomic_write_u64(&stored_at, (uint64) GetCurrentTimestamp());
}

// Saves what must outlive this process before the slot forgets where it came from, and returns what may be confirmed.
// Tables can't be written while the past is being decoded.
core::Lsn Session::save_before(core::Lsn safe)
{
	core::Lsn unsaved = std::min(schema_log_.unsaved_since(), letters_.unsaved_since());
	if (unsaved == SchemaLog::nothing)
		return safe;
	if (IsTransactionState() || HistoricSnapshotActive())
		return std::min(safe, unsaved);
	pg::in_transaction("writing pgbraid.flow_schemas", [this] {
		schema_log_.save();
		letters_.save();
	});
	return safe;
}

void Session::confirm(const nats::Publisher::Progress &progress)
{
	if (!reader_)
		return;
	worker::Entry &entry = worker::self();
	core::Lsn safe = safe_position(progress);
	note_lag(safe);
	if (safe > pg_atomic_read_u64(&entry.acknowledged_lsn)) {
		pg_atomic_write_u64(&entry.acknowledged_lsn, safe);
		pg::call([&] { ConditionVariableBroadcast(&entry.progress); });
	}
	reader_->confirm(save_before(safe));
	if (reader_->confirmed() == saved_ || GetCurrentTimestamp() < next_save_)
		return;
	reader_->save();
	saved_ = reader_->confirmed();
	next_save_ = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), settings::flow_save_interval_ms());
}

} // namespace pgbraid::flow
