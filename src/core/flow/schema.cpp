#include "core/flow/schema.h"

#include "core/flow/json.h"

#include <algorithm>

namespace pgbraid::core {
namespace {

bool begins_before(const SchemaVersion &a, const SchemaVersion &b)
{
	return a.since < b.since;
}

} // namespace

ShapeWriter::ShapeWriter(Bytes &to) : to_(to)
{
	to_.append("\"columns\":[");
}

void ShapeWriter::column(std::string_view name, std::string_view type, bool nullable, bool in_key)
{
	to_.append(is_first_ ? "{\"name\":" : ",{\"name\":");
	is_first_ = false;
	append_json_string(to_, name);
	to_.append(",\"type\":");
	append_json_string(to_, type);
	to_.append(nullable ? ",\"nullable\":true" : ",\"nullable\":false");
	to_.append(in_key ? ",\"key\":true}" : ",\"key\":false}");
}

void ShapeWriter::key(std::string_view name)
{
	to_.append(in_columns_ ? "],\"key\":[" : ",");
	in_columns_ = false;
	append_json_string(to_, name);
}

void ShapeWriter::finish(std::string_view identity)
{
	to_.append(in_columns_ ? "],\"key\":[],\"identity\":\"" : "],\"identity\":\"");
	to_.append(identity);
	to_.append('"');
}

void SchemaHistory::restore(Table table, SchemaVersion version)
{
	auto &known = versions_[table];
	known.insert(std::upper_bound(known.begin(), known.end(), version, begins_before), std::move(version));
}

const SchemaVersion &SchemaHistory::at(Table table, Position position, std::string_view name, std::string_view shape)
{
	position.part = 0;
	const SchemaVersion *now = in_force(table, position);
	if (now != nullptr && now->table == name && now->shape == shape)
		return *now;
	if (now == nullptr)
		now = predecessor(table, position, name);
	SchemaVersion next{now == nullptr ? 1 : now->version + 1, position, std::string(name), std::string(shape)};
	auto &known = versions_[table];
	known.erase(std::lower_bound(known.begin(), known.end(), next, begins_before), known.end());
	unsaved_.push_back({table, next});
	return known.emplace_back(std::move(next));
}

const SchemaVersion *SchemaHistory::in_force(Table table, Position position) const
{
	auto found = versions_.find(table);
	const SchemaVersion *last = nullptr;
	if (found != versions_.end())
		for (const SchemaVersion &version : found->second)
			if (version.since <= position)
				last = &version;
	return last;
}

const SchemaVersion *SchemaHistory::predecessor(Table table, Position position, std::string_view name) const
{
	const SchemaVersion *last = nullptr;
	for (const auto &[other, versions] : versions_) {
		const SchemaVersion *version = other == table ? nullptr : in_force(other, position);
		if (version != nullptr && version->table == name && (last == nullptr || last->since < version->since))
			last = version;
	}
	return last;
}

} // namespace pgbraid::core
