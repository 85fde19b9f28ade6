// Objects of PostgreSQL's jsonb, without SQL: the operators take a new process longer to look up than all else that a
// checkout does.
#pragma once
#include "pg/boundary.h"

#include <optional>
#include <string>

struct JsonbContainer;
struct JsonbValue;

namespace pgbraid::pg {

// Does not own what it reads, which lives in the memory context that was current when it was parsed.
class JsonObject {
public:
	explicit JsonObject(const JsonbContainer *container) : container_(container) {}
	static JsonObject parse(const std::string &text); // 22P02 if it is no JSON

	// Of another type than is asked for is as good as missing.
	std::string text(const char *key) const; // "" if missing
	bool boolean(const char *key) const;	 // false if missing
	int64 integer(const char *key) const;	 // 0 if missing
	std::optional<JsonObject> object(const char *key) const;
	std::string array(const char *key) const; // as text; "[]" if missing

private:
	bool find(const char *key, JsonbValue &found) const;

	const JsonbContainer *container_;
};

// `object`, with the members of `patch` in the place of its own; those that are null go.
std::string merge_json(const std::string &object, const std::string &patch);

// `array` with one more element, and without its first ones if they are more than `most`.
std::string append_to_json(const std::string &array, const std::string &element, int most);

} // namespace pgbraid::pg
