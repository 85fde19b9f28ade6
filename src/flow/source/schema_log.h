// The shapes that a flow's tables have had, kept in pgbraid.flow_schemas, and which of them a row needs.
//
// What is new is held in memory until save(). The slot must not be confirmed beyond that before, for
// then nobody could tell any more where the new shape began.
#pragma once
#include "core/flow/schema.h"
#include "flow/source/relation.h"

namespace pgbraid::flow {

enum class SchemaEvents { changes, all, none };

class SchemaLog {
public:
	SchemaLog(int64 flow, int64 generation, SchemaEvents events);

	// In an open transaction. What begins after the position `after` the stream does not know of: it is forgotten, and
	// found again.
	void load(core::Position after);

	// Does anybody want to know the shape that comes with this plan?
	bool wants(const RelationPlan &plan) const { return events_ != SchemaEvents::none && !plan.shape_is_known; }

	// What an event of the table at `position` must be preceded by: null for nothing. To be asked for the first event
	// of each new plan, published or already stored. Reads the catalog; may ereport. Valid until the next call.
	const core::SchemaVersion *begins_at(RelationPlan &plan, Relation relation, core::Position position);

	bool has_unsaved() const noexcept { return !history_.unsaved().empty(); }
	void save(); // in an open transaction

private:
	int64 flow_, generation_;
	SchemaEvents events_;
	core::SchemaHistory history_;
	core::Bytes shape_; // a member, since an ereport would skip the destructor of a local
};

} // namespace pgbraid::flow
