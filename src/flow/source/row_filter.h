// The WHERE of a table in a publication, with pgoutput's semantics: an update that moves a row into the filter becomes
// an insert, one that moves it out becomes a delete.
#pragma once
#include "flow/source/encoder.h"

namespace pgbraid::flow {

// Plain data in the memory context of its plan, since an ereport may pass.
struct RowFilter;

// From pg_publication_rel.prqual, in the current memory context. `published` gives the columns that it speaks of.
RowFilter *make_row_filter(const char *expression, Relation published);

// What is left of the change: nothing when false, else with the operation it has become.
bool apply_row_filter(const RelationPlan &plan, Change &change);

} // namespace pgbraid::flow
