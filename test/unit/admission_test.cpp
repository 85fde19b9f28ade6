#include "core/job/admission.h"

#include <gtest/gtest.h>

namespace pgbraid::core::job {
namespace {

// With nothing else; one active; one waiting; one each; two active and two waiting.
std::string admissions(Rule rule)
{
	std::string letters;
	for (const Load load : {Load{0, 0}, Load{1, 0}, Load{0, 1}, Load{1, 1}, Load{2, 2}}) {
		switch (admit(rule, load)) {
			case Admission::run: letters += '+'; break;
			case Admission::skip: letters += '-'; break;
			case Admission::replace: letters += 'r'; break;
		}
	}
	return letters;
}

TEST(Admission, FollowsTheOverlapPolicy)
{
	EXPECT_EQ(admissions({Overlap::allow}), "+++++");
	EXPECT_EQ(admissions({Overlap::skip}), "+----");
	EXPECT_EQ(admissions({Overlap::queue_one}), "+++--");
	EXPECT_EQ(admissions({Overlap::queue_all, 1, 2}), "++++-");
	EXPECT_EQ(admissions({Overlap::replace}), "+rrrr");
}

TEST(Admission, LetsSoManyWait)
{
	EXPECT_EQ(admissions({Overlap::queue_all, 1, 0}), "+----");
	EXPECT_EQ(admissions({Overlap::queue_all, 1, 1}), "+++--");
	EXPECT_EQ(admissions({Overlap::queue_all, 1, 3}), "+++++");
}

TEST(Admission, HasSoManyPlaces)
{
	EXPECT_EQ(admissions({Overlap::allow, 2}), "+++++");
	EXPECT_EQ(admissions({Overlap::skip, 2}), "+++--");
	EXPECT_EQ(admissions({Overlap::queue_one, 2}), "++++-");
	EXPECT_EQ(admissions({Overlap::replace, 3}), "++++r");
}

TEST(Admission, LetsOneWaitWhereThereAreLessPlacesThanBefore)
{
	EXPECT_EQ(admit({Overlap::queue_one, 1}, {3, 0}), Admission::run);
	EXPECT_EQ(admit({Overlap::queue_one, 1}, {3, 1}), Admission::skip);
}

constexpr JobId job = 7, other = 8;

std::vector<Occurrence> times(std::initializer_list<JobId> jobs)
{
	std::vector<Occurrence> due;
	for (const JobId id : jobs) {
		const Instant time{std::chrono::minutes{due.size()}};
		due.push_back({id, time, time, time, Occurrence::Fate::run});
	}
	return due;
}

std::string verdicts(std::vector<Occurrence> due, Rule rule, Load load, std::set<JobId> replaced = {})
{
	const Verdicts found = judge(due, {{job, rule}, {other, {}}}, {{job, load}});
	EXPECT_EQ(found.replaced, replaced);
	std::string letters;
	for (const Verdict verdict : found.each)
		letters += "r-mc"[static_cast<int>(verdict)];
	return letters;
}

TEST(Verdicts, CountWhatComesToBe)
{
	EXPECT_EQ(verdicts(times({job, job, other, other, job}), {Overlap::skip}, {}), "r-rr-");
	EXPECT_EQ(verdicts(times({job, job, other, job}), {Overlap::skip, 2}, {}), "rrr-");
	EXPECT_EQ(verdicts(times({job, job, job}), {Overlap::queue_one}, {}), "rr-");
	EXPECT_EQ(verdicts(times({job, job, job, job}), {Overlap::queue_all, 1, 2}, {1, 0}), "rr--");
	EXPECT_EQ(verdicts(times({job, job, job}), {Overlap::allow, 1}, {1, 1}), "rrr");
}

TEST(Verdicts, PassOverWhatWasMissed)
{
	std::vector<Occurrence> due = times({job, job, job});
	due[0].fate = due[1].fate = Occurrence::Fate::missed;
	EXPECT_EQ(verdicts(due, {Overlap::skip}, {}), "mmr");
	EXPECT_EQ(verdicts(due, {Overlap::replace}, {1, 1}, {job}), "mmr");
}

TEST(Verdicts, ReplaceWhatIsThereAndWhatComes)
{
	EXPECT_EQ(verdicts(times({job}), {Overlap::replace}, {}), "r");
	EXPECT_EQ(verdicts(times({job, other}), {Overlap::replace}, {0, 1}, {job}), "rr");
	EXPECT_EQ(verdicts(times({job, other, job, job}), {Overlap::replace}, {}, {job}), "crcr");
}

TEST(Verdicts, KnowWhatOutlivesItsReplacement)
{
	EXPECT_EQ(verdicts(times({job, job, job}), {Overlap::replace, 3}, {3, 2, 0}, {job}), "rrr");
	EXPECT_EQ(verdicts(times({job, job, job}), {Overlap::replace, 3}, {3, 2, 1}, {job}), "ccr");
	EXPECT_EQ(verdicts(times({job, job, job}), {Overlap::replace, 3}, {3, 2, 2}, {job}), "ccr");
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
