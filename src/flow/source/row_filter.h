// The WHERE of a table in a publication and the filter of a flow, with pgoutput's semantics: an update that moves a row
// into the filter becomes an insert, one that moves it out becomes a delete.
#pragma once
#include "flow/source/payload.h"

namespace pgbraid::flow {

// Plain data in the memory context of its plan, since an ereport may pass.
struct RowFilter;

// In the current memory context. `tree` is from pg_publication_rel.prqual and `condition` is SQL, the flow's own; null
// where there is none, and a row must meet both. `published` gives the columns that they speak of; `used` gets those of
// the condition, counted from 0.
RowFilter *make_row_filter(const char *tree, const char *condition, Relation published, Bitmapset **used);

// What is left of the change: nothing when false, else with the operation it has become.
bool apply_row_filter(const RelationPlan &plan, Change &change);

} // namespace pgbraid::flow
