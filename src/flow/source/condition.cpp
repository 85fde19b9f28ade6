#include "flow/source/condition.h"

#include "pg/boundary.h"

extern "C" {
#include "access/table.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
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

} // namespace

Expr *parse_condition(Relation relation, const char *condition)
{
	Node *parsed = parse_where(condition);
	ParseState *state = make_parsestate(nullptr);
	ParseNamespaceItem *table = addRangeTableEntryForRelation(state, relation, AccessShareLock, nullptr, false, false);
	addNSItemToQuery(state, table, false, true, true);
	Node *resolved = transformWhereClause(state, parsed, EXPR_KIND_WHERE, "filter");
	assign_expr_collations(state, resolved);
	if (checkExprHasSubLink(resolved))
		refuse(condition, "It can't have a subquery: only the columns of the row itself.");
	free_parsestate(state);
	return expression_planner(reinterpret_cast<Expr *>(resolved));
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
