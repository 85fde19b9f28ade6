// An id has one spelling: what parses is what is written for it.
#include "core/flow/position.h"

#include <cstdlib>

using namespace pgbraid::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
	std::string_view text{reinterpret_cast<const char *>(data), size};
	auto id = parse_message_id(text);
	if (!id)
		return 0;
	Bytes again;
	append_message_id(again, id->history, id->position);
	if (again.view() != text || parse_message_id(again.view()) != id)
		std::abort();
	return 0;
}
