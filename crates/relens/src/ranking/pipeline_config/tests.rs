use super::*;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::{EnhancedQuery, Query};

fn enhanced(pipeline: &Pipeline, text: &str) -> EnhancedQuery {
    pipeline.enhance(&[Query::new(text).unwrap()], None).unwrap().remove(0)
}

fn open_text(text: &str) -> Result<Pipeline> {
    let directory = tempfile::tempdir().unwrap();
    fs_err::write(directory.path().join("kb.json"), r#"{"hen": ["red comb", "two legs"]}"#).unwrap();
    fs_err::write(
        directory.path().join("llm.jsonl"),
        r#"{"query": "a hen", "rewrites": [{"text": "a bird"}]}"#,
    )
    .unwrap();
    fs_err::write(directory.path().join("words.tsv"), "hen\t2\n").unwrap();
    let path = directory.path().join("spec.toml");
    fs_err::write(&path, text).unwrap();
    Pipeline::open(path.to_str().unwrap(), &EnhancerContext::default())
}

fn error(text: &str) -> String {
    match open_text(text) {
        Ok(_) => panic!("the spec should be refused: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn several_enhancers_are_weighted_as_the_file_says() {
    let enhancer = open_text(
        r#"
        combine = "max_score"
        [[enhancer]]
        name = "identity"
        weight = 2
        [[enhancer]]
        name = "descriptions"
        weight = 0.5
        knowledge = "kb.json"
        template = "entity"
        mix = { combine = "replace" }
        [[enhancer]]
        name = "llm"
        records = ["llm.jsonl"]
        "#,
    )
    .unwrap();
    assert_eq!(enhancer.name(), "identity+descriptions+llm");
    let enhanced = enhanced(&enhancer, "a hen");
    assert_eq!(enhanced.combination, Combination::MaxScore);
    let texts: Vec<(&str, f32)> =
        enhanced.texts.iter().map(|text| (text.text.as_str(), text.weight)).collect();
    assert_eq!(
        texts,
        [
            ("a hen", 2.0),
            ("hen, which has red comb", 0.25),
            ("hen, which has two legs", 0.25),
            ("a hen", 0.5),
            ("a bird", 0.5)
        ]
    );
}

#[test]
fn one_enhancer_alone_keeps_its_own_combination() {
    let spec = "[[enhancer]]\nname = \"concat\"\nknowledge = \"kb.json\"\nmix = { original_share = 0.2 }\n";
    let enhanced = enhanced(&open_text(spec).unwrap(), "a hen");
    assert_eq!((enhanced.combination, enhanced.texts[0].weight), (Combination::MeanScore, 0.2));
    let spec = "[[enhancer]]\nname = \"composer\"\nknowledge = \"kb.json\"\nvocabulary = \"words.tsv\"\n";
    assert_eq!(open_text(spec).unwrap().name(), "composer");
}

#[test]
fn reference_pairs_enrich_and_lower_hubs() {
    let directory = tempfile::tempdir().unwrap();
    let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    let images = Embeddings::from_rows(2, vec![0.6, 0.8, 0.8, 0.6]).unwrap();
    ReferencePairs::new(captions, images).unwrap().save(&directory.path().join("p.safetensors")).unwrap();
    let path = directory.path().join("e.toml");
    let opened = |text: &str| {
        fs_err::write(&path, text).unwrap();
        Pipeline::open(path.to_str().unwrap(), &EnhancerContext::default()).unwrap()
    };
    let neighbours = "[neighbours]\npairs = \"p.safetensors\"\nshare = 0.1\n";
    let enriched = opened(neighbours);
    assert_eq!(enriched.name(), "identity+neighbours");
    assert!(enriched.refine.is_some() && enriched.hubness.is_none());
    let mut both = opened(&format!("{neighbours}[hubness]\npairs = \"p.safetensors\"\n"));
    assert_eq!(both.name(), "identity+neighbours+hubness");
    assert_eq!(both.hubness_of_scores().unwrap().dim(), 2);
    both.combine = Some(Combination::ReciprocalRank);
    assert!(both.hubness_of_scores().is_none());
}

#[test]
fn what_cannot_be_used_is_named() {
    let context = EnhancerContext::default();
    let unknown = Pipeline::open("magic", &context).err().unwrap().to_string();
    assert!(
        unknown
            .starts_with("unknown enhancer `magic`; available: default, identity, wordnet (needs WordNet's"),
        "{unknown}"
    );
    assert!(unknown.contains("llm (needs a .toml file"), "{unknown}");
    assert!(Pipeline::open("no/such.toml", &context).err().unwrap().to_string().contains("no/such.toml"));
    assert_eq!(Pipeline::open("identity", &context).unwrap().name(), "identity");
    for (spec, expected) in [
        ("enhancer = 3", "expected a sequence"),
        ("[[enhancer]]\nweight = 1\n", "expected the name of each enhancer"),
        ("[[enhancer]]\nname = \"identity\"\nweight = \"x\"\n", "`identity`: expected a number as weight"),
        ("[[enhancer]]\nname = \"identity\"\nmagic = 1\n", "enhancer `identity`: unknown field `magic`"),
        ("[[enhancer]]\nname = \"soft\"\n", "`rewriter` is in its place"),
        ("[spelling]\nmagic = 1\n", "enhancer `spelling`: unknown field `magic`"),
        ("[spelling]\nwords = \"no/such.txt\"\n", "no/such.txt"),
        (
            "[[enhancer]]\nname = \"adapter\"\n",
            "enhancer `adapter`: expected a retriever, or the setting `weights`",
        ),
        ("[[enhancer]]\nname = \"llm\"\n", "enhancer `llm`: expected the setting `records`"),
        (
            "[[enhancer]]\nname = \"wordnet\"\ndirectory = \"none\"\n",
            "expected the dictionary files of WordNet 3.0",
        ),
        (
            "[[enhancer]]\nname = \"concat\"\nknowledge = \"kb.json\"\nmix = { original_share = 2.0 }\n",
            "original_share",
        ),
        ("enhancer = []", "expected weights"),
        ("[neighbours]\nshare = 0.1\n", "expected `pairs`"),
        ("[hubness]\npairs = \"p.safetensors\"\nmagic = 1\n", "unknown field `magic`"),
        (
            "[calibration]\npairs = \"p.safetensors\"\n",
            "expected [hubness], found its old name [calibration]",
        ),
        ("[[enhancer]]\nname = \"spelling\"\n", "write [spelling] in place of an [[enhancer]]"),
        ("[hubness]\npairs = \"none.safetensors\"\n", "none.safetensors"),
        ("[fit]\npairs = \"none.safetensors\"\nbias = 1.0\n", "missing field"),
        ("[exclusion]\nweight = 5\n", "expected a weight above 0 and up to 2"),
    ] {
        let message = error(spec);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_directory_is_that_of_a_rewriter() {
    let directory = bundled::model("relens-mini-rewriter").unwrap();
    let (own, named) = (
        Pipeline::open(directory.to_str().unwrap(), &EnhancerContext::default()).unwrap(),
        Pipeline::open("rewriter", &EnhancerContext::default()).unwrap(),
    );
    let query = "a dog plying with a ball";
    assert_eq!(enhanced(&own, query), enhanced(&named, query));
    let error = Pipeline::open("no/such/rewriter", &EnhancerContext::default()).err().unwrap().to_string();
    assert!(error.contains("no/such/rewriter"), "{error}");
}
