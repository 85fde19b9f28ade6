// The data contract: what a publication lets out of one table, decided as pgoutput decides it.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "catalog/pg_publication.h"
#include "nodes/bitmapset.h"
#include "utils/rel.h"
}

namespace pgbraid::flow {

struct Contract {
	bool published;
	PublicationActions actions;
	Oid published_as;				  // the relation itself, or its ancestor in a partition tree
	Bitmapset *columns;				  // of published_as; null: all
	const char *filter;				  // the WHERE as an expression tree in text; null: none
	const char *own_filter = nullptr; // of the flow, as SQL; null: none
	bool generated_columns;
};

// Reads the catalog under the snapshot in force: while decoding, as it was when the change was made. A publication that
// does not exist lets nothing out, with a warning. `own_publication`: made by pgflow_create, so generated columns are
// part of the row whatever the publication could say of them.
Contract read_contract(Relation relation, const char *name, bool own_publication);

// Of the columns of published_as, those that leave.
bool is_sent(Form_pg_attribute attribute, const Contract &contract);

} // namespace pgbraid::flow
