//! What is linked is what the table of host functions promises.

mod support;

use std::collections::BTreeSet;

use refrain_inspect::abi;

#[test]
fn exactly_the_functions_of_the_tables_are_linked_with_their_types() {
    let words = |types: &[refrain_inspect::ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>();
    let promised: BTreeSet<_> = abi::all()
        .filter(|function| function.is_linked())
        .map(|function| {
            let (module, name) = function.link();
            (module.to_owned(), name.to_owned(), words(function.params), words(function.results))
        })
        .collect();
    let linked = support::platform().imports();
    assert_eq!(linked.len(), promised.len(), "no name has two types");
    let linked: BTreeSet<_> = linked.into_iter().collect();
    assert_eq!(linked.difference(&promised).collect::<Vec<_>>(), Vec::<&_>::new(), "linked and not promised");
    assert_eq!(promised.difference(&linked).collect::<Vec<_>>(), Vec::<&_>::new(), "promised and not linked");
}
