#include "branch/verbs.h"

#include <algorithm>
#include <iterator>

namespace pgbraid::branch {

namespace {

constexpr VerbTraits verbs[] = {
	// verb, name, what does it, makes databases, leaves work
	{Verb::init, "init", init, false, false},
	{Verb::snapshot, "snapshot", take_snapshot, true, true},
	{Verb::create, "create", create, true, false},
	{Verb::checkout, "checkout", checkout, true, false},
	{Verb::reset, "reset", reset, true, true},
	{Verb::drop, "drop", drop, false, true},
	{Verb::rename, "rename", rename, false, false},
	{Verb::protect, "protect", set_protection, false, false},
	{Verb::unprotect, "unprotect", set_protection, false, false},
	{Verb::describe, "describe", describe, false, false},
	{Verb::set_spares, "spares", set_spares, true, true},
	{Verb::undo, "undo", undo, false, true},
	{Verb::spare, "spare", make_spare, true, true},
};

constexpr bool is_in_order()
{
	for (size_t i = 0; i < std::size(verbs); i++)
		if (verbs[i].verb != static_cast<Verb>(i))
			return false;
	return std::size(verbs) == static_cast<size_t>(Verb::spare) + 1;
}
static_assert(is_in_order());

} // namespace

const VerbTraits &traits_of(Verb verb)
{
	return verbs[static_cast<size_t>(verb)];
}

const char *name_of(Verb verb)
{
	return traits_of(verb).name;
}

std::optional<Verb> verb_of(const char *name)
{
	auto found = std::find_if(std::begin(verbs), std::end(verbs),
							  [=](const VerbTraits &verb) { return strcmp(verb.name, name) == 0; });
	return found == std::end(verbs) ? std::nullopt : std::optional(found->verb);
}

} // namespace pgbraid::branch
