#include "flow/source/decoder.h"

#include "core/flow/json.h"
#include "flow/source/row_filter.h"
#include "flow/source/table_reader.h"
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "replication/logical.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"
}

namespace pgbraid::flow {

namespace {

constexpr int new_row = 0, old_row = 1;

bool is_published(const RelationPlan &plan, Operation operation)
{
	switch (operation) {
		case Operation::snapshot: return true;
		case Operation::insert: return plan.inserts;
		case Operation::update: return plan.updates;
		case Operation::remove: return plan.deletes;
		case Operation::truncate: return plan.truncates;
	}
	return false;
}

Operation operation_of(const ReorderBufferChange *change)
{
	switch (change->action) {
		case REORDER_BUFFER_CHANGE_INSERT: return Operation::insert;
		case REORDER_BUFFER_CHANGE_UPDATE: return Operation::update;
		default: return Operation::remove;
	}
}

} // namespace

Decoder::Decoder(const Parts &parts, core::Position after) : parts_(parts), after_(after)
{
	pg::call([&] {
		row_context_ = AllocSetContextCreate(TopMemoryContext, "pgbraid row", ALLOCSET_DEFAULT_SIZES);
		for (int i : {new_row, old_row}) {
			values_[i] =
				static_cast<Datum *>(MemoryContextAlloc(TopMemoryContext, sizeof(Datum) * MaxHeapAttributeNumber));
			nulls_[i] =
				static_cast<bool *>(MemoryContextAlloc(TopMemoryContext, sizeof(bool) * MaxHeapAttributeNumber));
		}
	});
	active_ = this;
}

Decoder::~Decoder()
{
	active_ = nullptr;
}

bool Decoder::is_before_start(ReorderBufferTXN *transaction) const
{
	return transaction->final_lsn < start_.lsn && start_.cutoff.includes(full_xid(transaction->xid));
}

void Decoder::stand_at(core::Position position) noexcept
{
	position_ = position;
	if (position.lsn == after_.lsn && position.seq == after_.seq)
		expects_position_ = false;
}

void Decoder::stand_at_next(ReorderBufferTXN *transaction) noexcept
{
	stand_at({transaction->final_lsn, ++seq_});
}

void Decoder::begin(ReorderBufferTXN *transaction)
{
	seq_ = 0;
	events_ = 0;
	is_started_ = is_begun_ = false;
	before_start_ = is_before_start(transaction);
	transaction_ = transaction;
	parts_.outlet.begin();
	stand_at({transaction->final_lsn, 0});
}

void Decoder::commit(ReorderBufferTXN *transaction)
{
	close_pack();
	recent_commits_.note(transaction->xid);
	stand_at_next(transaction);
	if (events_ > 0 && !is_stored() && parts_.announcer.wants_transactions()) {
		announce_transaction();
		parts_.announcer.commit(parts_.outlet.batch(), position_, events_);
		parts_.outlet.message_added();
	}
	transaction_ = nullptr;
	counters_.last_commit = transaction->end_lsn;
	parts_.outlet.commit(transaction->end_lsn);
}

void Decoder::start_transaction()
{
	if (transaction_ == nullptr || std::exchange(is_started_, true))
		return;
	TimestampTz time = transaction_->xact_time.commit_time;
	parts_.encoder.start_transaction(transaction_->final_lsn, transaction_->xid, time);
	parts_.announcer.start_transaction(transaction_->final_lsn, transaction_->xid, time);
}

// Before the first event of a transaction that the stream does not have.
void Decoder::announce_transaction()
{
	if (transaction_ == nullptr || std::exchange(is_begun_, true))
		return;
	start_transaction();
	counters_.last_commit_time = transaction_->xact_time.commit_time;
	if (!parts_.announcer.wants_transactions() || core::Position{transaction_->final_lsn, 0} <= after_)
		return;
	parts_.announcer.begin(parts_.outlet.batch(), transaction_->final_lsn);
	parts_.outlet.message_added();
}

RelationPlan &Decoder::plan_of(Relation relation)
{
	bool is_new;
	RelationPlan *plan = parts_.plans.get(relation, &is_new);
	if (is_new && plan->publishes_anything())
		parts_.outlet.batch().require_subject(parts_.encoder.prepare(*plan));
	return *plan;
}

RowImage Decoder::take_apart(Relation relation, HeapTuple tuple, int which)
{
	if (tuple == nullptr)
		return {};
	heap_deform_tuple(tuple, RelationGetDescr(relation), values_[which], nulls_[which]);
	return {values_[which], nulls_[which]};
}

// A change that the stream has is looked at for what it leaves behind: the shape of its table, its part in the count of
// its transaction, and a letter that had to be put aside.
bool Decoder::is_of_interest(const RelationPlan &plan) const noexcept
{
	return !is_stored() || wants_schema(plan) || wants_letter() ||
		   (parts_.announcer.wants_transactions() && position_.lsn == after_.lsn);
}

void Decoder::filtered(const RelationPlan &plan) noexcept
{
	if (!is_stored() && !plan.is_ours)
		counters_.filtered++;
}

// Also where the stream has the event already: a worker before this one may have noted it in vain.
void Decoder::note_if_moved(ReorderBufferTXN *transaction, Relation relation, const ReorderBufferChange *change)
{
	HeapTuple before = pg::tuple(change->data.tp.oldtuple), after = pg::tuple(change->data.tp.newtuple);
	Oid index_id = reading_index(relation);
	if (before == nullptr || after == nullptr || !OidIsValid(index_id))
		return;
	RowImage old_image = take_apart(relation, before, old_row), new_image = take_apart(relation, after, new_row);
	Relation index = RelationIdGetRelation(index_id);
	if (!RelationIsValid(index))
		return;
	old_key_.clear();
	new_key_.clear();
	append_key(old_key_, relation, index, [&](AttrNumber column) { return old_image.values[column - 1]; });
	// A part of the key that is stored out of line and did not change is in the old row only.
	append_key(new_key_, relation, index, [&](AttrNumber column) {
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), column - 1);
		Datum value = new_image.values[column - 1];
		bool unchanged = attribute->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
		return unchanged ? old_image.values[column - 1] : value;
	});
	RelationClose(index);
	if (old_key_.view() != new_key_.view())
		moved_rows_.note({RelationGetRelid(relation), std::string(new_key_.view()), transaction->final_lsn});
}

void Decoder::change(ReorderBufferTXN *transaction, Relation relation, ReorderBufferChange *change)
{
	if (change->action == REORDER_BUFFER_CHANGE_UPDATE && moved_rows_.watches(RelationGetRelid(relation)) &&
		!before_start_)
		note_if_moved(transaction, relation, change);
	stand_at_next(transaction);
	if (before_start_)
		return;
	RelationPlan &plan = plan_of(relation);
	if (!is_of_interest(plan))
		return;
	Operation operation = operation_of(change);
	// pgflow_redrive puts what shall be published again into a table, as a whole: what is in WAL can be read here,
	// tables can't; and nobody else may write there.
	bool is_redrive =
		plan.is_ours && operation == Operation::insert && strcmp(RelationGetRelationName(relation), "redrives") == 0;
	if (!is_redrive && !is_published(plan, operation))
		return filtered(plan);
	Change taken = {.operation = operation,
					.position = position_,
					.after = take_apart(relation, pg::tuple(change->data.tp.newtuple), new_row),
					.before = take_apart(relation, pg::tuple(change->data.tp.oldtuple), old_row),
					.record_lsn = change->lsn};
	if (is_redrive)
		redrive(taken.after);
	else
		filter_and_deliver(plan, relation, taken);
}

void Decoder::filter_and_deliver(RelationPlan &plan, Relation relation, Change change)
{
	// A delete can come without its row: logged when the table had no replica identity, or was not yet published.
	bool has_row = change.after.values != nullptr || change.before.values != nullptr;
	if (has_row && apply_row_filter(plan, change))
		deliver(plan, relation, change);
	else
		filtered(plan);
}

// An event: what precedes it, and itself.
void Decoder::deliver(RelationPlan &plan, Relation relation, const Change &change)
{
	events_++;
	start_transaction();
	if (!is_stored())
		announce_transaction();
	if (wants_schema(plan) && change.operation != Operation::truncate)
		announce_schema(plan, relation, change);
	if (!is_stored() || wants_letter())
		emit(plan, change);
}

void Decoder::announce_schema(RelationPlan &plan, Relation relation, const Change &change)
{
	MemoryContext caller = MemoryContextSwitchTo(row_context_);
	const core::SchemaVersion *version = parts_.schemas.begins_at(plan, relation, change.position);
	if (version != nullptr && version->since > after_) {
		close_pack();
		core::Batch &batch = parts_.outlet.batch();
		std::string_view subject = parts_.encoder.subject_of_table(plan, "schema");
		parts_.announcer.schema(batch, subject, plan, {version, change.snapshot_before});
		core::Batch::Message message = batch[batch.size() - 1];
		if (parts_.oversize.is_too_large(message)) { // it has no place of its own for pieces
			size_t size = message.payload.size();
			batch.drop_last();
			parts_.announcer.schema(batch, subject, plan, {version, change.snapshot_before}, size);
		}
		parts_.outlet.message_added();
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(row_context_);
}

// Sees to it that the last message of the batch fits, or that it leaves no trace if the stream has it already.
template <typename Stub>
void Decoder::settle(const char *op, std::string_view snapshot_before, Stub &&append_stub)
{
	core::Batch &batch = parts_.outlet.batch();
	core::Batch::Message message = batch[batch.size() - 1];
	core::OversizeMode mode = parts_.oversize.mode();
	size_t size = message.payload.size();
	bool is_too_large = parts_.oversize.is_too_large(message);
	if (is_too_large && mode == core::OversizeMode::dead_letter) {
		parts_.letters.put_aside(message, op, parts_.oversize.max_payload());
		batch.drop_last();
		if (!is_stored())
			append_stub(size);
	} else if (is_stored()) {
		batch.drop_last();
	} else if (is_too_large && mode == core::OversizeMode::split) {
		parts_.oversize.split(batch, snapshot_before);
	}
}

// What may add one message to the batch: rows of a pack. One that is too large has a single row. (dead_letter goes with
// single rows only.)
template <typename F>
void Decoder::append_packed(F &&append)
{
	core::Batch &batch = parts_.outlet.batch();
	size_t before = batch.size();
	append();
	if (batch.size() > before && parts_.oversize.mode() == core::OversizeMode::split &&
		parts_.oversize.is_too_large(batch[batch.size() - 1]))
		parts_.oversize.split(batch, parts_.encoder.place_before());
}

void Decoder::close_pack()
{
	append_packed([this] { parts_.encoder.close_pack(parts_.outlet.batch()); });
}

// An ereport of an output function ends the worker, batch and all; an exception too.
void Decoder::emit(const RelationPlan &plan, const Change &change)
{
	MemoryContext caller = MemoryContextSwitchTo(row_context_);
	core::Batch &batch = parts_.outlet.batch();
	append_packed([&] { parts_.encoder.close_other_pack(batch, plan, change); });
	if (parts_.encoder.packs(change)) {
		append_packed([&] { parts_.encoder.append(batch, plan, change); });
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row_context_);
		return parts_.outlet.message_added();
	}
	parts_.encoder.append(batch, plan, change);
	settle(name_of(change.operation), change.snapshot_before, [&](size_t size) {
		parts_.encoder.append_stub(batch, plan, change, size, true);
		if (!parts_.oversize.is_too_large(batch[batch.size() - 1]))
			return;
		batch.drop_last();
		parts_.encoder.append_stub(batch, plan, change, size, false);
	});
	MemoryContextSwitchTo(caller);
	MemoryContextReset(row_context_);
	if (!is_stored())
		parts_.outlet.message_added();
}

void Decoder::truncate(ReorderBufferTXN *transaction, int count, Relation *relations, core::Lsn record_lsn)
{
	for (int i = 0; i < count; i++) {
		stand_at_next(transaction);
		if (before_start_)
			continue;
		RelationPlan &plan = plan_of(relations[i]);
		// Where the root of a partition tree stands for its leaves, emptying a leaf is not emptying the root.
		bool stands_for_itself = plan.published_as == RelationGetRelid(relations[i]);
		if (stands_for_itself && is_published(plan, Operation::truncate))
			deliver(plan, relations[i],
					{.operation = Operation::truncate,
					 .position = position_,
					 .after = {},
					 .before = {},
					 .record_lsn = record_lsn});
		else
			filtered(plan);
	}
}

void Decoder::message(ReorderBufferTXN *transaction, const LogicalMessage &given)
{
	LogicalMessage message = given;
	if (message.is_transactional) // it has its place in the transaction, whether published or not
		stand_at_next(transaction);
	else
		stand_at(message.position);
	message.position = position_;
	if ((message.is_transactional && before_start_) || !parts_.announcer.wants(message.prefix))
		return;
	events_ += message.is_transactional ? 1 : 0;
	if (is_stored() && !wants_letter())
		return;
	start_transaction();
	if (!is_stored())
		announce_transaction();
	core::Batch &batch = parts_.outlet.batch();
	close_pack();
	parts_.announcer.message(batch, message);
	settle("message", {}, [&](size_t size) { parts_.announcer.message(batch, message, size); });
	if (is_stored())
		return;
	if (message.is_transactional)
		parts_.outlet.message_added();
	else
		has_unsettled_ = true;
}

// What is published outside of a transaction is complete at once.
void Decoder::message_ends_at(core::Lsn end_lsn) noexcept
{
	if (!has_unsettled_)
		return;
	counters_.last_commit = end_lsn;
	counters_.last_commit_time = GetCurrentTimestamp();
	parts_.outlet.commit(end_lsn);
}

// Outside of a transaction, where PostgreSQL lets nobody read tables, it would not do to wait and see to other things.
void Decoder::record_read()
{
	if (std::exchange(has_unsettled_, false))
		parts_.outlet.message_added();
}

void Decoder::redrive(const RowImage &row)
{
	enum { id, flow, dead_letter, subject, headers, payload };
	if (DatumGetInt64(row.values[flow]) != parts_.flow)
		return;
	events_++;
	if (is_stored())
		return;
	announce_transaction();
	close_pack();
	MemoryContext caller = MemoryContextSwitchTo(row_context_);
	core::Batch &batch = parts_.outlet.batch();
	subject_.clear();
	subject_.append(TextDatumGetCString(row.values[subject]));
	convert_to_utf8(subject_, 0, BadBytes::keep);
	headers_.clear();
	headers_.append(TextDatumGetCString(row.values[headers]));
	convert_to_utf8(headers_, 0, BadBytes::keep);
	headers_.append("Pgbraid-Redrive: ");
	core::append_json_integer(headers_, DatumGetInt64(row.values[dead_letter]));
	headers_.append("\r\n");
	batch.require_subject(subject_.view());
	batch.begin(subject_.view(), parts_.history, position_, headers_.view());
	const bytea *bytes = DatumGetByteaPP(row.values[payload]);
	batch.payload().append({VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)});
	batch.end();
	if (parts_.oversize.is_too_large(batch[batch.size() - 1]))
		parts_.oversize.split(batch);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(row_context_);
	parts_.outlet.message_added();
}

void Decoder::begin_snapshot_rows(core::Lsn lsn)
{
	TimestampTz now = GetCurrentTimestamp();
	transaction_ = nullptr;
	parts_.encoder.start_transaction(lsn, InvalidTransactionId, now);
	parts_.announcer.start_transaction(lsn, InvalidTransactionId, now);
}

void Decoder::snapshot_row(Relation relation, const RowImage &row, core::Position position, SnapshotMark mark)
{
	stand_at(position);
	RelationPlan &plan = plan_of(relation);
	if (plan.publishes_anything())
		filter_and_deliver(plan, relation,
						   {.operation = Operation::snapshot,
							.position = position,
							.after = row,
							.before = {},
							.record_lsn = 0,
							.snapshot = mark.reached,
							.snapshot_before = mark.before});
}

} // namespace pgbraid::flow
