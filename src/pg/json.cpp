#include "pg/json.h"

extern "C" {
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
}

namespace pgbraid::pg {

namespace {

Datum parsed(const std::string &text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text.c_str()));
}

const char *printed(Datum json)
{
	return DatumGetCString(DirectFunctionCall1(jsonb_out, json));
}

} // namespace

JsonObject JsonObject::parse(const std::string &text)
{
	return call([&] { return JsonObject(&DatumGetJsonbP(parsed(text))->root); });
}

bool JsonObject::find(const char *key, JsonbValue &found) const
{
	auto *container = const_cast<JsonbContainer *>(container_);
	return JsonContainerIsObject(container) &&
		   call([&] { return getKeyJsonValueFromContainer(container, key, (int) strlen(key), &found) != nullptr; });
}

std::string JsonObject::text(const char *key) const
{
	JsonbValue found;
	if (!find(key, found) || found.type != jbvString)
		return {};
	return {found.val.string.val, (size_t) found.val.string.len};
}

bool JsonObject::boolean(const char *key) const
{
	JsonbValue found;
	return find(key, found) && found.type == jbvBool && found.val.boolean;
}

int64 JsonObject::integer(const char *key) const
{
	JsonbValue found;
	if (!find(key, found) || found.type != jbvNumeric)
		return 0;
	return call([&] { return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(found.val.numeric))); });
}

std::optional<JsonObject> JsonObject::object(const char *key) const
{
	JsonbValue found;
	if (!find(key, found) || found.type != jbvBinary)
		return std::nullopt;
	return JsonObject(found.val.binary.data);
}

std::string JsonObject::array(const char *key) const
{
	JsonbValue found;
	if (!find(key, found) || found.type != jbvBinary || !JsonContainerIsArray(found.val.binary.data))
		return "[]";
	return call([&] { return JsonbToCString(nullptr, found.val.binary.data, found.val.binary.len); });
}

std::string merge_json(const std::string &object, const std::string &patch)
{
	return call([&] {
		Datum merged = DirectFunctionCall2(jsonb_concat, parsed(object), parsed(patch));
		return printed(DirectFunctionCall1(jsonb_strip_nulls, merged));
	});
}

std::string append_to_json(const std::string &array, const std::string &element, int most)
{
	return call([&] {
		Datum appended = DirectFunctionCall2(jsonb_concat, parsed(array), parsed(element));
		while (JB_ROOT_COUNT(DatumGetJsonbP(appended)) > (uint32) most)
			appended = DirectFunctionCall2(jsonb_delete_idx, appended, Int32GetDatum(0));
		return printed(appended);
	});
}

} // namespace pgbraid::pg
