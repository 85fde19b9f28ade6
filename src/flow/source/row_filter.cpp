#include "flow/source/row_filter.h"

#include "pg/boundary.h"

extern "C" {
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
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

// PostgreSQL's own look-up of columns wants a lock, which nobody may wait for while decoding.
Node *column_of(ParseState *state, ColumnRef *reference)
{
	auto *columns = static_cast<TupleDesc>(state->p_ref_hook_state);
	const Node *name = linitial_node(Node, reference->fields);
	for (int i = 0; list_length(reference->fields) == 1 && IsA(name, String) && i < columns->natts; i++) {
		Form_pg_attribute attribute = TupleDescAttr(columns, i);
		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), strVal(name)) == 0)
			return reinterpret_cast<Node *>(
				makeVar(1, attribute->attnum, attribute->atttypid, attribute->atttypmod, attribute->attcollation, 0));
	}
	return nullptr; // then PostgreSQL says that there is no such column
}

// The one expression that the text is; an error for anything more.
Node *parse_condition(const char *condition)
{
	List *parsed = raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
	auto *statement = castNode(SelectStmt, linitial_node(RawStmt, parsed)->stmt);
	ResTarget *target =
		list_length(statement->targetList) == 1 ? linitial_node(ResTarget, statement->targetList) : nullptr;
	bool is_more = statement->distinctClause || statement->intoClause || statement->fromClause ||
				   statement->whereClause || statement->groupClause || statement->havingClause ||
				   statement->windowClause || statement->sortClause || statement->limitOffset ||
				   statement->limitCount || statement->lockingClause || statement->op != SETOP_NONE;
	if (target == nullptr || target->name != nullptr || is_more)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the filter is not one expression")));
	return target->val;
}

Node *analyze_condition(const char *condition, TupleDesc columns)
{
	Node *parsed = parse_condition(condition);
	ParseState *state = make_parsestate(nullptr);
	state->p_sourcetext = condition;
	state->p_pre_columnref_hook = column_of;
	state->p_ref_hook_state = columns;
	Node *analyzed = transformWhereClause(state, parsed, EXPR_KIND_WHERE, "filter");
	assign_expr_collations(state, analyzed);
	free_parsestate(state);
	return analyzed;
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
		Node *own = analyze_condition(condition, RelationGetDescr(published));
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
		Bitmapset *used = flow::columns_used(flow::analyze_condition(text_to_cstring(PG_GETARG_TEXT_PP(1)), columns));
		auto *names = static_cast<Datum *>(palloc(sizeof(Datum) * (size_t) (columns->natts + 1)));
		int count = 0;
		for (int i = -1; (i = bms_next_member(used, i)) >= 0;)
			names[count++] = NameGetDatum(&TupleDescAttr(columns, i)->attname);
		ArrayType *array = construct_array(names, count, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR);
		relation_close(relation, AccessShareLock);
		return PointerGetDatum(array);
	});
}
