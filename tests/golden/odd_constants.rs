// Constants of the model b0adeff3. Made by `feamoe export --constants rust`: do not edit.
//
// The model itself is what `feamoe export` writes with the same options but for --constants:
//     static MODEL: &[u8] = feamoe_engine::include_model!("model.feamoe");
//     let model = Device::load(MODEL)?; // then check: model.crc32() == CRC32

/// Features of the model.
#[allow(dead_code)]
pub const FEATURES: usize = 13;
/// Experts that hold the model's: an even number.
#[allow(dead_code)]
pub const EXPERTS: usize = 4;
/// The model, with no more room than it needs.
#[allow(dead_code)]
pub type Device<'a> = feamoe_engine::Model<'a, FEATURES, EXPERTS>;
/// Of the model: another value, another model, whose indices and codes may differ.
#[allow(dead_code)]
pub const CRC32: u32 = 0xb0adeff3;
/// Scores from here on are decided favourably.
#[allow(dead_code)]
pub const THRESHOLD: f32 = 0.3;

/// Indices of features.
#[allow(dead_code, missing_docs)]
pub mod feature {
    use feamoe_engine::FeatureIndex;
    // "age"
    pub const AGE_0: FeatureIndex = FeatureIndex(0);
    // "Age"
    pub const AGE_1_: FeatureIndex = FeatureIndex(1);
    // "hours-per-week"
    pub const HOURS_PER_WEEK: FeatureIndex = FeatureIndex(2);
    // ""
    pub const _3: FeatureIndex = FeatureIndex(3);
    // "?"
    pub const _4: FeatureIndex = FeatureIndex(4);
    // "type"
    pub const TYPE: FeatureIndex = FeatureIndex(5);
    // "50K"
    pub const _50K: FeatureIndex = FeatureIndex(6);
    // "Prüfung"
    pub const PR_U00FC_FUNG: FeatureIndex = FeatureIndex(7);
    // "age 1"
    pub const AGE_1: FeatureIndex = FeatureIndex(8);
    // "a * / b / * c ? ?/ // d / * /"
    pub const A_B_C_D: FeatureIndex = FeatureIndex(9);
    // "self"
    pub const SELF: FeatureIndex = FeatureIndex(10);
    // "line\nbreak\t\\"
    pub const LINE_BREAK: FeatureIndex = FeatureIndex(11);
    // "features"
    pub const FEATURES: FeatureIndex = FeatureIndex(12);
}

// Codes of the levels of "age".
#[allow(dead_code, missing_docs)]
pub mod level_age_0 {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "hours-per-week".
#[allow(dead_code, missing_docs)]
pub mod level_hours_per_week {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "?".
#[allow(dead_code, missing_docs)]
pub mod level_4 {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "50K".
#[allow(dead_code, missing_docs)]
pub mod level_50k {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "age 1".
#[allow(dead_code, missing_docs)]
pub mod level_age_1 {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "self".
#[allow(dead_code, missing_docs)]
pub mod level_self {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}

// Codes of the levels of "features".
#[allow(dead_code, missing_docs)]
pub mod level_features {
    // "<=50K"
    pub const _50K_0: u16 = 0;
    // ">50K"
    pub const _50K_1: u16 = 1;
    // "50K"
    pub const _50K_2: u16 = 2;
    // ""
    pub const _3: u16 = 3;
    // "fn"
    pub const FN: u16 = 4;
    // "\u{202e}x"
    pub const U202E_X: u16 = 5;
    // "日本"
    pub const U65E5_U672C: u16 = 6;
    // "a b"
    pub const A_B_7: u16 = 7;
    // "a-b"
    pub const A_B_8: u16 = 8;
    // "\"quoted\""
    pub const QUOTED: u16 = 9;
    // "back\\"
    pub const BACK: u16 = 10;
    // "* /"
    pub const _11: u16 = 11;
}
