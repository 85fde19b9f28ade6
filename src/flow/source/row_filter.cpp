#include "flow/source/row_filter.h"

extern "C" {
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
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

} // namespace

RowFilter *make_row_filter(const char *expression, Relation published)
{
	auto *filter = static_cast<RowFilter *>(palloc0(sizeof(RowFilter)));
	auto *condition = expression_planner(static_cast<Expr *>(stringToNode(expression)));
	filter->expression = ExecInitExpr(condition, nullptr);
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
