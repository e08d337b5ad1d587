//! What the compiler says where a network has mistakes: the words, the place, and nothing that only follows from it.

#[test]
fn mistakes_are_shown_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
