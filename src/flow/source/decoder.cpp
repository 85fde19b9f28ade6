#include "flow/source/decoder.h"

#include "flow/source/row_filter.h"
#include "flow/source/table_reader.h"
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "replication/logical.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"
}

namespace pgbraid::flow {

namespace {

// The one that decodes in this process. Callbacks get no argument of ours on creation of the context.
Decoder *active = nullptr;

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

// A slot of ours is of no use to anybody else: its position is the flow's.
void on_startup(LogicalDecodingContext *, OutputPluginOptions *options, bool is_init)
{
	if (active == nullptr && !is_init)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this replication slot belongs to a flow of pgbraid"),
						errhint("Use pgflow_create to publish changes; pgoutput or test_decoding to look at them.")));
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
}

} // namespace

Decoder::Decoder(Encoder &encoder, RelationPlans &plans, Outlet &outlet, core::Position after)
	: encoder_(encoder), plans_(plans), outlet_(outlet), after_(after)
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
	active = this;
}

Decoder::~Decoder()
{
	active = nullptr;
}

void Decoder::register_callbacks(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = on_startup;
	callbacks->begin_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction) {
		pg::enter([](ReorderBufferTXN *t) { active->begin(t); }, transaction);
	};
	callbacks->change_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, Relation relation,
							  ReorderBufferChange *change) {
		pg::enter([](ReorderBufferTXN *t, Relation r, ReorderBufferChange *c) { active->change(t, r, c); }, transaction,
				  relation, change);
	};
	callbacks->truncate_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, int count, Relation *relations,
								ReorderBufferChange *change) {
		pg::enter([](ReorderBufferTXN *t, int n, Relation *r, XLogRecPtr lsn) { active->truncate(t, n, r, lsn); },
				  transaction, count, relations, change->lsn);
	};
	callbacks->message_cb = [](LogicalDecodingContext *, ReorderBufferTXN *, XLogRecPtr, bool transactional,
							   const char *, Size, const char *) {
		if (transactional)
			active->seq_++; // it has its place in the transaction, whether published or not
	};
	callbacks->commit_cb = [](LogicalDecodingContext *, ReorderBufferTXN *transaction, XLogRecPtr) {
		pg::enter([](ReorderBufferTXN *t) { active->commit(t); }, transaction);
	};
}

bool Decoder::is_before_start(ReorderBufferTXN *transaction) const
{
	return transaction->final_lsn < start_.lsn && start_.cutoff.includes(full_xid(transaction->xid));
}

void Decoder::begin(ReorderBufferTXN *transaction)
{
	seq_ = 0;
	started_ = false;
	before_start_ = is_before_start(transaction);
}

void Decoder::commit(ReorderBufferTXN *transaction)
{
	recent_commits_.note(transaction->xid);
	counters_.last_commit = transaction->end_lsn;
	close_pack();
	outlet_.commit(transaction->end_lsn);
}

// False when the stream has the event already, or must not have it.
bool Decoder::next_position(ReorderBufferTXN *transaction, core::Position *position)
{
	*position = {transaction->final_lsn, ++seq_};
	if (*position <= after_) {
		if (*position == after_)
			expects_position_ = false;
		return false;
	}
	if (before_start_)
		return false;
	if (!started_) {
		encoder_.start_transaction(transaction->final_lsn, transaction->xid, transaction->xact_time.commit_time);
		counters_.last_commit_time = transaction->xact_time.commit_time;
		started_ = true;
	}
	return true;
}

RelationPlan &Decoder::plan_of(Relation relation)
{
	bool is_new;
	RelationPlan *plan = plans_.get(relation, &is_new);
	if (is_new && plan->publishes_anything())
		outlet_.batch().require_subject(encoder_.prepare(*plan));
	return *plan;
}

RowImage Decoder::take_apart(Relation relation, HeapTuple tuple, int which)
{
	if (tuple == nullptr)
		return {};
	heap_deform_tuple(tuple, RelationGetDescr(relation), values_[which], nulls_[which]);
	return {values_[which], nulls_[which]};
}

// An ereport of an output function ends the worker, batch and all; an exception too.
void Decoder::emit(const RelationPlan &plan, const Change &change)
{
	MemoryContext caller = MemoryContextSwitchTo(row_context_);
	encoder_.append(outlet_.batch(), plan, change);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(row_context_);
	outlet_.message_added();
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
	core::Position position;
	if (!next_position(transaction, &position))
		return;
	const RelationPlan &plan = plan_of(relation);
	Operation operation = operation_of(change);
	if (!is_published(plan, operation)) {
		counters_.filtered += plan.is_ours ? 0 : 1;
		return;
	}
	filter_and_emit(plan, {.operation = operation,
						   .position = position,
						   .after = take_apart(relation, pg::tuple(change->data.tp.newtuple), new_row),
						   .before = take_apart(relation, pg::tuple(change->data.tp.oldtuple), old_row),
						   .record_lsn = change->lsn,
						   .snapshot = {}});
}

void Decoder::filter_and_emit(const RelationPlan &plan, Change change)
{
	// A delete can come without its row: logged when the table had no replica identity, or was not yet published.
	bool has_row = change.after.values != nullptr || change.before.values != nullptr;
	if (has_row && apply_row_filter(plan, change))
		emit(plan, change);
	else
		counters_.filtered++;
}

void Decoder::truncate(ReorderBufferTXN *transaction, int count, Relation *relations, core::Lsn record_lsn)
{
	for (int i = 0; i < count; i++) {
		core::Position position;
		if (!next_position(transaction, &position))
			continue;
		const RelationPlan &plan = plan_of(relations[i]);
		// Where the root of a partition tree stands for its leaves, emptying a leaf is not emptying the root.
		bool stands_for_itself = plan.published_as == RelationGetRelid(relations[i]);
		if (stands_for_itself && is_published(plan, Operation::truncate))
			emit(plan, {.operation = Operation::truncate,
						.position = position,
						.after = {},
						.before = {},
						.record_lsn = record_lsn,
						.snapshot = {}});
		else
			counters_.filtered++;
	}
}

void Decoder::begin_snapshot_rows(core::Lsn lsn)
{
	encoder_.start_transaction(lsn, InvalidTransactionId, GetCurrentTimestamp());
}

void Decoder::snapshot_row(Relation relation, const RowImage &row, core::Position position, std::string_view place)
{
	const RelationPlan &plan = plan_of(relation);
	if (plan.publishes_anything())
		filter_and_emit(
			plan,
			{.operation = Operation::snapshot, .position = position, .after = row, .before = {}, .snapshot = place});
}

} // namespace pgbraid::flow

PGBRAID_EXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	pgbraid::flow::Decoder::register_callbacks(callbacks);
}
