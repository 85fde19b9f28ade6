// The shapes that published tables have had in the course of a flow: columns, key, replica identity.
#pragma once
#include "core/base/bytes.h"
#include "core/flow/position.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace pgbraid::core {

// `"columns":[{"name":"id","type":"bigint","nullable":false,"key":true}],"key":["id"],"identity":"default"`, piece by
// piece.
class ShapeWriter {
public:
	explicit ShapeWriter(Bytes &to);
	void column(std::string_view name, std::string_view type, bool nullable, bool in_key);
	void key(std::string_view name);
	void finish(std::string_view identity);

private:
	Bytes &to_;
	bool in_columns_ = true, is_first_ = true;
};

struct SchemaVersion {
	std::uint64_t version = 0; // 1 is the first of the table in the flow
	Position since;			   // of the first event that needs it, with part 0
	std::string table;		   // `"schema":"public","table":"t"`
	std::string shape;		   // what ShapeWriter wrote
};

// Which version is in force follows from the position and the shapes alone, never from when something was saved: so
// that what is decoded again gets the same versions again.
class SchemaHistory {
public:
	using Table = std::uint32_t;

	// As read back, in any order.
	void restore(Table table, SchemaVersion version);

	// An event of the table at `position` has this name and shape: its version, a new one from there on if they differ
	// from what is in force. A table that takes the name of another goes on with its versions. The reference is valid
	// until the next call.
	const SchemaVersion &at(Table table, Position position, std::string_view name, std::string_view shape);

	struct Change {
		Table table;
		SchemaVersion version; // replaces whatever the table has from its `since` on
	};
	const std::vector<Change> &unsaved() const noexcept { return unsaved_; }
	void saved() noexcept { unsaved_.clear(); }

private:
	const SchemaVersion *in_force(Table table, Position position) const;
	const SchemaVersion *predecessor(Table table, Position position, std::string_view name) const;

	std::map<Table, std::vector<SchemaVersion>> versions_; // by since
	std::vector<Change> unsaved_;
};

} // namespace pgbraid::core
