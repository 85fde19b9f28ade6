// What is known of a table that changes come from: whether its publication lets them out, under which name and subject,
// and how each column is encoded. Found in the catalog as it was when the change was made, and kept until that changes.
#pragma once
#include "catalog/flows.h"
#include "core/flow/mask.h"
#include "flow/source/value.h"

extern "C" {
#include "nodes/pg_list.h"
#include "utils/rel.h"
}

#include <string_view>

namespace pgbraid::flow {

struct Contract;
struct RowFilter;
struct CachedPlan;

// What is shown of a value instead of it; see mask.h.
struct Mask {
	enum class Kind : unsigned char { none, hash, partial, fixed } kind;
	std::size_t keep;
	std::string_view value;
	const core::Hmac *hmac;
};

struct ColumnPlan {
	std::string_view name;	// as published
	std::string_view label; // "name":
	int index;				// in the tuple as stored
	int published_index;	// in the table as published
	TypePlan *type;
	FmgrInfo *output; // function of the type
	Mask mask;
	bool in_key;	  // of the replica identity; of the primary key where the identity is the whole row
	bool in_identity; // part of what the old row carries
	bool is_varlena;  // may be stored out of line
};

struct RelationPlan {
	Oid relation, published_as;
	List *ancestors; // in a partition tree: their schemas may be what is published
	bool valid;
	MemoryContext memory;					   // holds the plan and all it points to
	bool inserts, updates, deletes, truncates; // published
	bool has_key;
	bool whole_row_identity; // REPLICA IDENTITY FULL
	bool is_ours;			 // a table of the extension, which nobody counts and no publication lets out
	bool shape_is_known;	 // to the schema log, see there
	// As published: of the root of a partition tree, if the publication says so. The names are UTF-8, for the subject;
	// the frame, "schema":"...","table":"...", is in the encoding of the database, as is the rest of the payload at
	// first.
	std::string_view schema, table, frame;
	std::string_view subject; // empty where it depends on the event
	std::string_view header;  // of CloudEvents: ce-subject
	bool hides_reading_key;	  // a column of it is masked or left out, so nothing may show its values
	int column_count;
	ColumnPlan *columns; // in the order in which they are encoded
	RowFilter *filter;	 // null: every row leaves
	int filter_column_count;
	ColumnPlan *filter_columns; // what it may speak of: all

	bool publishes_anything() const { return inserts || updates || deletes || truncates; }
};

// How the plans of one flow are made.
struct PlanOptions {
	const char *publication;
	bool own_publication; // made by pgflow_create: generated columns are part of the row
	bool sort_columns;	  // by name, for format rows
	const std::vector<catalog::ColumnRule> *rules;
	const std::vector<catalog::TableFilter> *filters;
	const core::Hmac *hmac; // null: no rule needs it
};

class RelationPlans {
public:
	// Registers for invalidations; once per process.
	explicit RelationPlans(const PlanOptions &options);

	// The plan of an open relation, made anew if there is none or the catalog has changed; `is_new` tells. It stays
	// until the next call. Needs a snapshot to read catalogs with; may ereport.
	RelationPlan *get(Relation relation, bool *is_new);

private:
	RelationPlan *make(Relation relation);
	std::string_view keep_as_utf8(const char *name);
	void describe(RelationPlan &plan, Relation stored, Contract &contract);
	void plan_columns(RelationPlan &plan, Relation stored, Relation published, const Contract &contract);
	void plan_filter(RelationPlan &plan, Relation published, const Contract &contract);
	const char *own_filter(const char *table) const;
	void apply_rules(RelationPlan &plan, const char *table);
	bool apply_rule(ColumnPlan &column, const char *table);
	std::string_view label_of(std::string_view name);
	ColumnPlan plan_column(Form_pg_attribute attribute, const RelationPlan &plan, const struct Identity &identity);

	PlanOptions options_;
	CachedPlan *last_ = nullptr; // changes mostly come from the table of the one before
	core::Bytes scratch_;		 // a member, since an ereport would skip the destructor of a local
};

} // namespace pgbraid::flow
