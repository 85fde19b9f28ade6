#include "flow/source/row_filter.h"

#include "flow/source/condition.h"
#include "pg/boundary.h"

extern "C" {
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
}

namespace pgbraid::flow {

struct RowFilter {
	ExprState *expression;
	ExprContext *context;
	TupleTableSlot *row;
};

namespace {

// A column that the row does not have counts as null: it is not part of the identity, so the filter can't use it.
void fill(TupleTableSlot *slot, const RelationPlan &plan, const RowImage &row, const RowImage &other)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * (size_t) slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < plan.filter_column_count; i++) {
		const ColumnPlan &column = plan.filter_columns[i];
		const RowImage *source = row_with(column, row, other);
		if (source == nullptr)
			continue;
		slot->tts_values[column.published_index] = source->values[column.index];
		slot->tts_isnull[column.published_index] = source->nulls[column.index];
	}
	ExecStoreVirtualTuple(slot);
}

bool matches(const RelationPlan &plan, const RowImage &row, const RowImage &other)
{
	RowFilter *filter = plan.filter;
	fill(filter->row, plan, row, other);
	filter->context->ecxt_scantuple = filter->row;
	bool is_null;
	Datum result = ExecEvalExprSwitchContext(filter->expression, filter->context, &is_null);
	bool matched = !is_null && DatumGetBool(result);
	ResetExprContext(filter->context);
	return matched;
}

// Without an old row, what identifies the row did not change, and the filter of an update speaks of nothing else.
bool apply_to_update(const RelationPlan &plan, Change &change)
{
	bool after = matches(plan, change.after, change.before);
	if (change.before.values == nullptr)
		return after;
	bool before = matches(plan, change.before, {});
	if (after && !before)
		change.operation = Operation::insert;
	if (!after && before) {
		change.operation = Operation::remove;
		change.after = {};
	}
	return after || before;
}

Bitmapset *columns_used(Node *expression)
{
	Bitmapset *offset = nullptr, *used = nullptr;
	pull_varattnos(expression, 1, &offset);
	for (int i = -1; (i = bms_next_member(offset, i)) >= 0;)
		used = bms_add_member(used, i + FirstLowInvalidHeapAttributeNumber - 1);
	return used;
}

} // namespace

RowFilter *make_row_filter(const char *tree, const char *condition, Relation published, Bitmapset **used)
{
	auto *filter = static_cast<RowFilter *>(palloc0(sizeof(RowFilter)));
	List *conditions = NIL;
	if (tree != nullptr)
		conditions = lappend(conditions, stringToNode(tree));
	if (condition != nullptr) {
		Node *own = resolve_condition(RelationGetDescr(published), condition);
		*used = columns_used(own);
		conditions = lappend(conditions, own);
	}
	auto *both = expression_planner(make_ands_explicit(conditions));
	filter->expression = ExecInitExpr(both, nullptr);
	filter->context = CreateStandaloneExprContext();
	filter->row = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(published)), &TTSOpsVirtual);
	return filter;
}

bool apply_row_filter(const RelationPlan &plan, Change &change)
{
	if (plan.filter == nullptr || change.operation == Operation::truncate)
		return true;
	if (change.operation == Operation::update)
		return apply_to_update(plan, change);
	return matches(plan, change.after.values ? change.after : change.before, {});
}

} // namespace pgbraid::flow

// filter_columns(table, condition): the names of the columns that it uses.
PGBRAID_FUNCTION(pgbraid_filter_columns)
{
	using namespace pgbraid;
	return pg::call([&] {
		Relation relation = relation_open(PG_GETARG_OID(0), AccessShareLock);
		TupleDesc columns = RelationGetDescr(relation);
		Bitmapset *used = flow::columns_used(flow::resolve_condition(columns, text_to_cstring(PG_GETARG_TEXT_PP(1))));
		auto *names = static_cast<Datum *>(palloc(sizeof(Datum) * (size_t) (columns->natts + 1)));
		int count = 0;
		for (int i = -1; (i = bms_next_member(used, i)) >= 0;)
			names[count++] = NameGetDatum(&TupleDescAttr(columns, i)->attname);
		ArrayType *array = construct_array(names, count, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR);
		relation_close(relation, AccessShareLock);
		return PointerGetDatum(array);
	});
}
