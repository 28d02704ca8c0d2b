//! Names to make a plausible district from.

/// The 20 streets and 4 towns of Baiyun: id, Chinese name, English name, suffix.
pub(super) const AREAS: [(&str, &str, &str, &str); 24] = [
    ("sanyuanli", "三元里", "Sanyuanli", STREET),
    ("songzhou", "松洲", "Songzhou", STREET),
    ("jingtai", "景泰", "Jingtai", STREET),
    ("tongde", "同德", "Tongde", STREET),
    ("huangshi", "黄石", "Huangshi", STREET),
    ("tangjing", "棠景", "Tangjing", STREET),
    ("xinshi", "新市", "Xinshi", STREET),
    ("tonghe", "同和", "Tonghe", STREET),
    ("jingxi", "京溪", "Jingxi", STREET),
    ("yongping", "永平", "Yongping", STREET),
    ("jiahe", "嘉禾", "Jiahe", STREET),
    ("junhe", "均禾", "Junhe", STREET),
    ("shijing", "石井", "Shijing", STREET),
    ("jinsha", "金沙", "Jinsha", STREET),
    ("yuncheng", "云城", "Yuncheng", STREET),
    ("helong", "鹤龙", "Helong", STREET),
    ("baiyunhu", "白云湖", "Baiyunhu", STREET),
    ("shimen", "石门", "Shimen", STREET),
    ("longgui", "龙归", "Longgui", STREET),
    ("dayuan", "大源", "Dayuan", STREET),
    ("renhe", "人和", "Renhe", TOWN),
    ("taihe", "太和", "Taihe", TOWN),
    ("zhongluotan", "钟落潭", "Zhongluotan", TOWN),
    ("jianggao", "江高", "Jianggao", TOWN),
];

const STREET: &str = "街道";
const TOWN: &str = "镇";

pub(super) const LANES: [&str; 12] = [
    "新庄一巷",
    "新庄二巷",
    "祠堂前街",
    "东头大街",
    "西边里",
    "南约巷",
    "北约巷",
    "塘边一巷",
    "塘边二巷",
    "榕树头街",
    "市场横路",
    "河涌边路",
];

pub(super) const SURNAMES: [&str; 16] =
    ["陈", "李", "黄", "张", "梁", "林", "何", "吴", "罗", "郭", "邓", "冯", "曾", "谢", "周", "欧阳"];

pub(super) const GIVEN: [&str; 16] = [
    "伟强", "秀英", "志明", "丽华", "建国", "小燕", "家豪", "美玲", "国栋", "婉仪", "俊杰", "桂芳", "永康", "雪梅",
    "子轩", "嘉欣",
];

/// Invented model names.
pub(super) const MODELS: [&str; 3] = ["Example CO-1", "Example CO-1 NB", "样例 CO-2"];
