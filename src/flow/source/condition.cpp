#include "flow/source/condition.h"

#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include "access/table.h"
#include "access/transam.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
}

namespace pgbraid::flow {

namespace {

[[noreturn]] void refuse(const char *condition, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" is no condition on the rows of a table", condition), errhint("%s", hint)));
}

// The text as the WHERE of a SELECT that has nothing else.
Node *parse_where(const char *condition)
{
	List *statements = raw_parser(psprintf("SELECT WHERE %s", condition), RAW_PARSE_DEFAULT);
	auto *select = list_length(statements) == 1
					   ? reinterpret_cast<SelectStmt *>(static_cast<RawStmt *>(linitial(statements))->stmt)
					   : nullptr;
	if (select == nullptr || !IsA(select, SelectStmt) || select->whereClause == nullptr)
		refuse(condition, "Write what could stand after WHERE: filter => 'amount > 10'.");
	SelectStmt plain = {};
	plain.type = T_SelectStmt;
	plain.whereClause = select->whereClause;
	if (!equal(&plain, select))
		refuse(condition, "Nothing may follow the condition.");
	return select->whereClause;
}

bool is_users_function(Oid function, void *)
{
	return function >= FirstNormalObjectId;
}

// Functions of users would run with the rights of a worker; virtual columns have no value in the row.
bool has_foreign_parts(Node *node, void *columns)
{
	if (node == nullptr)
		return false;
	if (check_functions_in_node(node, is_users_function, nullptr))
		return true;
	if (IsA(node, Var)) {
		AttrNumber column = reinterpret_cast<Var *>(node)->varattno;
		return column > 0 && TupleDescAttr(static_cast<TupleDesc>(columns), column - 1)->attgenerated == 'v';
	}
	return pg::walk_expression(node, has_foreign_parts, columns);
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

} // namespace

Node *resolve_condition(TupleDesc columns, const char *condition)
{
	Node *parsed = parse_where(condition);
	ParseState *state = make_parsestate(nullptr);
	state->p_sourcetext = condition;
	state->p_pre_columnref_hook = column_of;
	state->p_ref_hook_state = columns;
	Node *resolved = transformWhereClause(state, parsed, EXPR_KIND_WHERE, "filter");
	assign_expr_collations(state, resolved);
	if (checkExprHasSubLink(resolved))
		refuse(condition, "It can't have a subquery: only the columns of the row itself.");
	if (contain_mutable_functions(resolved) || has_foreign_parts(resolved, columns))
		refuse(condition, "It can use PostgreSQL's own immutable functions and operators only, and no virtual column.");
	free_parsestate(state);
	return resolved;
}

Expr *parse_condition(Relation relation, const char *condition)
{
	return expression_planner(reinterpret_cast<Expr *>(resolve_condition(RelationGetDescr(relation), condition)));
}

} // namespace pgbraid::flow

// check_condition(relation, condition)
PGBRAID_FUNCTION(pgbraid_check_condition)
{
	pgbraid::pg::call([&] {
		Relation relation = table_open(PG_GETARG_OID(0), AccessShareLock);
		pgbraid::flow::parse_condition(relation, text_to_cstring(PG_GETARG_TEXT_PP(1)));
		table_close(relation, NoLock);
	});
	PG_RETURN_VOID();
}
