#include "core/job/admission.h"

#include <gtest/gtest.h>

namespace pgbraid::core::job {
namespace {

// With nothing else; one active; one waiting; one each; two active and two waiting.
std::string admissions(Overlap overlap, int most_waiting = 2)
{
	std::string letters;
	for (const Load load : {Load{0, 0}, Load{1, 0}, Load{0, 1}, Load{1, 1}, Load{2, 2}}) {
		switch (admit(overlap, load, most_waiting)) {
			case Admission::start: letters += 's'; break;
			case Admission::wait: letters += 'w'; break;
			case Admission::skip: letters += '-'; break;
			case Admission::replace: letters += 'r'; break;
		}
	}
	return letters;
}

TEST(Admission, FollowsTheOverlapPolicy)
{
	EXPECT_EQ(admissions(Overlap::allow), "sssss");
	EXPECT_EQ(admissions(Overlap::skip), "s----");
	EXPECT_EQ(admissions(Overlap::queue_one), "sw---");
	EXPECT_EQ(admissions(Overlap::queue_all), "swww-");
	EXPECT_EQ(admissions(Overlap::replace), "srrrr");
}

TEST(Admission, LetsSoManyWait)
{
	EXPECT_EQ(admissions(Overlap::queue_all, 0), "s----");
	EXPECT_EQ(admissions(Overlap::queue_all, 1), "sw---");
	EXPECT_EQ(admissions(Overlap::queue_all, 3), "swwww");
}

TEST(Overlap, IsKnownByName)
{
	EXPECT_EQ(overlap_of("allow"), Overlap::allow);
	EXPECT_EQ(overlap_of("skip"), Overlap::skip);
	EXPECT_EQ(overlap_of("queue_one"), Overlap::queue_one);
	EXPECT_EQ(overlap_of("queue_all"), Overlap::queue_all);
	EXPECT_EQ(overlap_of("replace"), Overlap::replace);
	EXPECT_EQ(overlap_of("queue"), std::nullopt);
	EXPECT_EQ(overlap_of(""), std::nullopt);
}

} // namespace
} // namespace pgbraid::core::job
