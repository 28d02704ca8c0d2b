//! Every word of the screens, in both languages, in one table. A key without one of its texts does
//! not compile. `{0}`, `{1}` are filled by [`fill`].

use registry::people::Language;

macro_rules! texts {
    ($($key:ident: $zh:literal, $en:literal;)*) => {
        /// The words of one language.
        pub(crate) struct Texts { $(pub(crate) $key: &'static str,)* }

        static ZH: Texts = Texts { $($key: $zh,)* };
        static EN: Texts = Texts { $($key: $en,)* };

        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str, &str)] = &[$((stringify!($key), $zh, $en),)*];
    };
}

impl Texts {
    pub(crate) fn of(language: Language) -> &'static Texts {
        match language {
            Language::Zh => &ZH,
            Language::En => &EN,
        }
    }
}

/// Puts `values` into the places `{0}`, `{1}`, ... of `text`.
pub(crate) fn fill(text: &str, values: &[&dyn std::fmt::Display]) -> String {
    let mut filled = text.to_owned();
    for (index, value) in values.iter().enumerate() {
        filled = filled.replace(&format!("{{{index}}}"), &value.to_string());
    }
    filled
}

texts! {
    // frame
    lang: "zh-CN", "en";
    product: "燃气守望", "Gaswatch";
    desk: "值班台", "Duty desk";
    skip: "跳到主要内容", "Skip to content";
    nav: "主导航", "Main";
    nav_alarms: "报警", "Alarms";
    nav_sensors: "传感器", "Sensors";
    nav_quarantine: "隔离区", "Quarantine";
    nav_roster: "值班表", "Roster";
    nav_waiting: "{0} 起待接警", "{0} not acknowledged";
    demo_badge: "演示 · 模拟城区 · {0} 倍速", "DEMO · simulated district · {0}x";
    server_time: "系统时间", "Server time";
    last_event: "最近数据", "last data";
    no_event: "尚无数据", "no data yet";
    language: "语言", "Language";
    other_language: "English", "中文";
    menu: "菜单", "Menu";
    theme: "明暗", "Theme";
    theme_auto: "自动", "Auto";
    theme_day: "日间", "Day";
    theme_night: "夜间", "Night";
    sign_out: "退出", "Sign out";
    shortcuts: "快捷键", "Shortcuts";
    problems: "系统异常，报警可能延误：", "System problem, alarms may be delayed:";
    problems_next: "请立即通知系统管理员。", "Tell the administrator at once.";

    // live
    frozen: "画面已冻结，最后更新 {0}", "Display not live, last update {0}";
    frozen_help: "不要依据本画面判断。正在每 5 秒重试；请同时用电话值守。", "Do not rely on this screen. Retrying every 5 seconds; keep watch by telephone meanwhile.";
    polling: "实时连接中断，正每 5 秒刷新，最后更新 {0}", "Live connection lost, refreshing every 5 seconds, last update {0}";
    session_ended: "登录已失效，画面不再更新。", "You have been signed out; this screen no longer updates.";
    sign_in_again: "重新登录", "Sign in again";
    new_rows: "{0} 条新报警，点击显示", "{0} new, show";
    new_danger: "新的危险报警：{0}", "New danger alarm: {0}";
    new_alarms: "{0} 条新报警", "{0} new alarms";
    ack_failed: "接警未成功，请重试。", "The acknowledgement did not get through. Try again.";
    keys_title: "键盘快捷键", "Keyboard shortcuts";
    keys_move: "下一条 / 上一条", "Next / previous row";
    keys_open: "打开所选", "Open the selected row";
    keys_ack: "接警（所选报警）", "Acknowledge the selected alarm";
    keys_search: "查找传感器", "Find a sensor";
    keys_help: "显示本说明", "This help";
    keys_enabled: "启用单键快捷键", "Use single-key shortcuts";
    close: "关闭", "Close";

    // time and numbers
    seconds: "{0} 秒", "{0} s";
    minutes: "{0} 分", "{0} min";
    minutes_seconds: "{0} 分 {1} 秒", "{0} min {1} s";
    hours_minutes: "{0} 小时 {1} 分", "{0} h {1} min";
    days_hours: "{0} 天 {1} 小时", "{0} d {1} h";
    ago: "{0}前", "{0} ago";
    in_time: "{0}后", "in {0}";
    due_now: "即刻", "now";
    never: "从未", "never";
    unknown: "未知", "unknown";

    // levels and hazards
    danger: "危险", "Danger";
    urgent: "紧急", "Urgent";
    notice: "提示", "Notice";
    no_data: "无数据", "No data";
    hazard_co: "一氧化碳", "Carbon monoxide";
    hazard_co_short: "CO", "CO";
    hazard_gas_short: "燃气", "Gas";
    hazard_gas: "燃气泄漏", "Gas leak";

    // alarm list
    alarms: "报警", "Alarms";
    count_danger: "危险待接", "danger waiting";
    count_urgent: "紧急待接", "urgent waiting";
    count_acknowledged: "处置中", "in hand";
    count_cleared: "已回落待接", "fallen, waiting";
    col_level: "级别", "Level";
    col_place: "地点", "Place";
    col_what: "事由", "What";
    col_value: "CO 当前 / 限值（ppm）", "CO now / limit (ppm)";
    col_since: "起始", "Since";
    col_state: "状态", "State";
    col_owner: "负责人", "Owner";
    col_next: "下一步", "Next step";
    place_unknown: "地点未知", "Place unknown";
    sensor_n: "传感器 {0}", "Sensor {0}";
    rule_immediate: "立即报警值", "immediate limit";
    rule_sensor_alarm: "传感器自身报警", "sensor's own alarm";
    rule_dose: "累积暴露 {0}", "dose {0}";
    rule_silent: "高值后失联", "silent after high CO";
    trend_up: "上升", "rising";
    trend_down: "下降", "falling";
    trend_flat: "平稳", "steady";
    peak_n: "峰值 {0}", "peak {0}";
    is_late: "补传数据", "Late data";
    state_open: "待接警", "Waiting";
    state_cleared_open: "已回落，待接警", "Fallen, waiting";
    state_acknowledged: "已接警", "Acknowledged";
    state_cleared_acknowledged: "已回落，待结案", "Fallen, to resolve";
    state_resolved: "已结案", "Resolved";
    nobody_yet: "尚无人接警", "Nobody yet";
    next_posts: "{0} 通知 {1}", "{0}: {1}";
    next_call: "{0} 通知全部在岗人员", "{0}: everybody on duty";
    no_next: "无后续升级", "No further step";
    next_resolve: "现场安全后结案", "Resolve when safe";
    acknowledge: "接警", "Acknowledge";
    acknowledge_of: "接警：{0}", "Acknowledge: {0}";
    all_quiet: "当前没有报警", "No open alarm";
    watching: "正在监护：{0} 只传感器在线上报（共 {1} 只），最近一条数据 {2}。", "Watching: {0} of {1} sensors reporting, last reading {2}.";
    watching_nobody: "没有任何传感器在上报：此刻没有监护。请检查消息接入。", "No sensor is reporting: nothing is being watched. Check the message intake.";
    recent: "最近结案", "Recently resolved";
    col_resolved: "结案", "Resolved";
    col_peak: "CO 峰值（ppm）", "CO peak (ppm)";
    col_cause: "原因", "Cause";
    col_action: "处置", "Action";
    col_lasted: "历时", "Lasted";
    none_resolved: "还没有结案的报警。", "No incident has been resolved yet.";

    // incident
    incident_n: "报警 {0}", "Incident {0}";
    do_now: "现在要做", "Do now";
    co_do_1: "立即致电住户：全部人员到室外空旷处，不要返回。", "Ring the household: everybody out into the open air, nobody goes back.";
    co_do_2: "有人头痛、呕吐、昏迷或叫不醒：拨 120，并通知消防 119。", "Anybody with headache, vomiting, confusion or not waking: call 120, and the fire service on 119.";
    co_do_3: "派人到场：测值低于 30 ppm 前不得无防护进入；关阀、通风、停用器具。", "Send somebody: nobody enters unprotected until the reading is under 30 ppm; valve closed, windows open, appliances off.";
    gas_do_1: "立即致电住户：不开关任何电器，不用明火，开窗，全部撤出。", "Ring the household: touch no switch, no flame, open windows, everybody out.";
    gas_do_2: "在室外拨 119 和燃气抢修电话。", "From outside, call 119 and the gas emergency line.";
    gas_do_3: "派人到场：关气瓶阀，测值归零后方可进入。", "Send somebody: cylinder valve closed, nobody enters until the reading is zero.";
    consequence_co: "CO 无色无味，300 ppm 数十分钟可致命，睡眠中的人不会察觉。", "CO has no colour or smell. 300 ppm can kill within the hour, and sleepers do not notice.";
    consequence_gas: "一个火花即可引爆。", "One spark can set it off.";
    now_value: "当前", "Now";
    peak: "峰值", "Peak";
    ppm: "ppm", "ppm";
    since: "起始", "Since";
    household: "住户", "Household";
    contact: "联系人", "Contact";
    phone: "电话", "Phone";
    masked_note: "已脱敏，仅值班人员可见全部。", "Masked; duty staff see it in full.";
    vulnerable: "有老人、幼儿或行动不便者", "Somebody here cannot help themselves";
    premises: "场所", "Premises";
    premises_number: "编号", "Number";
    class_home: "居民", "Home";
    class_restaurant: "餐饮", "Restaurant";
    class_other: "其他", "Other";
    area: "镇街", "Area";
    sensor: "传感器", "Sensor";
    last_visit: "入户检查", "Inspection";
    visit_completed: "{0} 已检查，下次应于 {1} 前", "{0} inspected, next due by {1}";
    visit_never: "从未入户检查", "never inspected";
    visit_no_access: "{0} 到访不遇", "{0} nobody opened";
    visit_refused: "{0} 拒绝入户", "{0} refused";
    visit_vacant: "{0} 无人居住", "{0} vacant";
    visit_wrong_address: "{0} 地址有误", "{0} wrong address";
    semicolon: "；", "; ";
    curve: "CO 曲线", "CO curve";
    curve_of: "{0} 至 {1} 的 CO 曲线，峰值 {2} ppm", "CO from {0} to {1}, peak {2} ppm";
    curve_empty: "这段时间没有读数。", "No reading in this period.";
    log_scale: "对数刻度", "Log scale";
    gap_label: "无数据", "no data";
    limit_300: "300 立即报警", "300 danger at once";
    limit_30: "30 关注", "30 attention";
    table_of_values: "读数列表（{0} 条）", "Table of readings ({0})";
    table_is_cut: "仅列最新 {0} 条。", "The newest {0} only.";
    as_json: "全部读数（JSON）", "All readings (JSON)";
    col_time: "时间", "Time";
    col_co: "CO（ppm）", "CO (ppm)";
    col_flags: "备注", "Notes";
    timeline: "经过", "Time line";
    by: "{0}", "by {0}";
    ev_opened: "报警开始", "Opened";
    ev_raised: "级别或数值上升，重新升级", "Raised; escalation starts anew";
    ev_cleared: "数值回落", "Values fell back";
    ev_returned: "再次超限", "Returned";
    ev_step: "通知步骤", "Escalation step";
    ev_nobody: "无人可通知", "Nobody to tell";
    ev_acknowledged: "接警", "Acknowledged";
    ev_resolved: "结案", "Resolved";
    notifications: "通知", "Notifications";
    no_notifications: "尚未发出任何通知。", "No notification has been made.";
    col_to: "收件人", "To";
    col_channel: "方式", "By";
    col_step: "步骤", "Step";
    col_decided: "决定", "Decided";
    col_sent: "发出", "Sent";
    col_delivered: "送达", "Delivered";
    col_attempts: "次数", "Tries";
    ch_sms: "短信", "SMS";
    ch_email: "邮件", "Email";
    dl_waiting: "待发送", "Waiting";
    dl_queued: "网关排队中", "Queued at gateway";
    dl_sent: "已交网关", "Sent";
    dl_delivered: "已送达手机", "Delivered";
    dl_failed: "失败", "Failed";
    dl_cancelled: "无需发送", "Not needed";
    after_seconds: "+{0} 秒", "+{0} s";
    acknowledged_by: "{0} 于 {1} 接警（{2}）", "{0} acknowledged at {1} ({2})";
    via_link: "短信链接", "link";
    via_console: "值班台", "console";
    via_api: "接口", "API";
    resolve: "结案", "Resolve";
    resolve_hint: "接警后方可结案。", "Acknowledge first, then resolve.";
    resolve_lead: "确认现场安全后填写。结案后停止监看此事件。", "Once the place is safe. Resolving ends the watch over this incident.";
    cause: "查明的原因", "Cause found";
    people: "受影响人数", "People affected";
    action: "采取的措施", "Action taken";
    err_cause: "请写明原因，最多 500 字。", "Say what caused it, at most 500 characters.";
    err_people: "请填 0 到 10000 的整数。", "Give a whole number from 0 to 10000.";
    err_action: "请写明措施，最多 2000 字。", "Say what was done, at most 2000 characters.";
    err_summary: "尚未结案，请改正标出的项目：", "Not resolved yet. Correct the marked fields:";
    outcome: "结案记录", "Outcome";
    may_not_answer: "您的角色只能查看。", "Your role may look, not answer.";

    // sensors
    sensors: "传感器", "Sensors";
    search: "查找", "Find";
    search_hint: "编号、地址、位置", "Id, address or room";
    any_state: "全部状态", "Any state";
    filter: "筛选", "Filter";
    reset: "清除", "Clear";
    col_sensor: "传感器", "Sensor";
    col_room: "位置", "Room";
    col_last_seen: "最近上报", "Last seen";
    col_battery: "电量（%）", "Battery (%)";
    col_signal: "信号（dBm）", "Signal (dBm)";
    col_online: "连接", "Link";
    online: "在线", "Online";
    offline: "离线", "Offline";
    sc_danger: "CO 危险", "Danger";
    sc_raised: "CO 偏高", "Raised CO";
    sc_no_data: "无数据", "No data";
    sc_never: "从未上报", "Never heard";
    sc_fault: "故障", "Fault";
    sc_end_of_life: "到寿", "End of life";
    sc_test: "测试中", "Test";
    sc_warmup: "预热", "Warming up";
    sc_normal: "正常", "Normal";
    unbound: "未绑定场所", "Not bound to premises";
    no_sensor: "没有符合条件的传感器。", "No sensor matches.";
    no_sensor_at_all: "还没有登记传感器。导入或接入后会出现在这里。", "No sensor is registered yet. They appear here once imported or connected.";
    next_page: "下一页", "Next page";
    first_page: "第一页", "First page";
    shown_of: "本页 {0} 只，共登记 {1} 只", "{0} on this page, {1} registered";
    last_24_h: "最近 24 小时", "Last 24 hours";
    latest: "最新读数", "Latest reading";
    field_time: "测量时间", "Measured";
    field_received: "收到时间", "Received";
    field_co: "CO", "CO";
    field_lel: "可燃气体", "Combustible gas";
    field_temperature: "温度", "Temperature";
    field_humidity: "湿度", "Humidity";
    field_battery: "电量", "Battery";
    field_signal: "信号", "Signal";
    field_state: "自报状态", "Own state";
    field_seq: "序号", "Sequence";
    field_model: "型号", "Model";
    field_interval: "上报间隔", "Reports every";
    field_range: "量程", "Range";
    field_skew: "时钟偏快", "Clock ahead by";
    field_presence: "连接", "Link";
    not_sent: "未提供", "not sent";
    own_normal: "正常", "normal";
    own_warmup: "预热", "warming up";
    own_test: "测试", "test";
    own_alarm: "报警", "alarm";
    own_fault: "故障", "fault";
    own_end_of_life: "到寿", "end of life";
    fl_time_of_receipt: "无时间，按收到时间", "no time sent, receipt time used";
    fl_time_unusable: "时间不可用，按收到时间", "time unusable, receipt time used";
    fl_time_shifted: "时钟偏快，已校正", "clock ahead, corrected";
    fl_late: "补传", "late";
    fl_co_unusable: "CO 值无效", "CO unusable";
    fl_co_saturated: "达到量程上限", "at or above range";
    fl_field_dropped: "有字段无效", "a field was dropped";
    fl_salvaged: "报文残缺", "payload broken off";

    // quarantine
    quarantine: "隔离区", "Quarantine";
    quarantine_lead: "看不懂的消息原样保存在此，一条不丢。共 {0} 条，最新在前。", "Messages that could not be understood, kept as received; none is dropped. {0} in all, newest first.";
    quarantine_empty: "没有被隔离的消息：收到的都看得懂。", "Nothing in quarantine: everything received was understood.";
    col_received: "收到", "Received";
    col_reason: "原因", "Reason";
    col_source: "来源", "Source";
    col_payload: "内容", "Payload";
    bytes_n: "{0} 字节", "{0} bytes";
    bytes_cut: "仅显示前 {0} 字节", "first {0} bytes";
    older: "更早", "Older";
    newest: "最新", "Newest";
    q_not_json: "不是 JSON", "Not JSON";
    q_not_a_reading: "不是读数", "Not a reading";
    q_empty_reading: "空读数", "Empty reading";
    q_too_many_readings: "一次读数过多", "Too many readings";
    q_other: "无法识别", "Not understood";

    // roster
    roster: "值班表", "Roster";
    on_duty: "现在谁在岗", "On duty now";
    col_post: "岗位", "Post";
    col_now: "现在", "Now";
    col_until: "至", "Until";
    col_then: "接班", "Then";
    nobody_on: "无人在岗", "Nobody on duty";
    nobody_after: "未排班", "Not filled";
    no_phone: "没有电话也没有邮箱", "neither phone nor email";
    post_duty: "值班员", "Duty officer";
    post_deputy: "副值班员", "Deputy";
    post_supervisor: "值班主管", "Supervisor";
    post_lead: "区负责人", "District lead";
    plan: "升级预案", "Escalation plan";
    plan_lead: "无人接警时，从报警起经过以下时间逐级通知。", "While nobody acknowledges, these are told, counted from the alarm.";
    plan_empty: "没有升级预案：报警不会通知任何人。请立即联系管理员。", "There is no escalation plan: alarms would tell nobody. Contact the administrator at once.";
    at_once: "立即", "at once";
    coming_shifts: "未来 48 小时", "The next 48 hours";
    col_from: "从", "From";
    col_person: "人员", "Person";
    no_shifts: "没有排班。", "No shift is planned.";

    // sign-in
    sign_in: "登录", "Sign in";
    sign_in_lead: "瓶装燃气安全监护", "Bottled-gas safety watch";
    login: "用户名", "User name";
    password: "密码", "Password";
    sign_in_wrong: "用户名或密码不正确。", "The user name or the password is wrong.";
    sign_in_throttled: "失败次数过多，请于 {0} 之后再试，或联系管理员。", "Too many failed attempts. Try again after {0}, or ask the administrator.";
    sign_in_help: "忘记密码请联系系统管理员。", "Forgotten your password? Ask the administrator.";

    // acknowledge page
    ack_title: "接警", "Acknowledge";
    ack_greeting: "{0}，请接警", "{0}, please answer";
    ack_button: "我来处理", "I have it";
    ack_explain: "按下后停止继续通知他人，由您负责到底。", "Pressing this stops the calls to others. You then own this incident.";
    ack_done: "已接警", "You have it";
    ack_done_at: "{0} 记录。系统已停止通知他人。", "Recorded at {0}. Nobody else is being called.";
    ack_other: "{0} 已于 {1} 接警", "{0} answered at {1}";
    ack_other_next: "您无需操作。如需协助，请联系对方或值班台。", "You need do nothing. To help, contact them or the duty desk.";
    ack_closed: "此事件已结案", "This incident is closed";
    ack_closed_next: "结案于 {0}，您无需操作。", "Closed at {0}. You need do nothing.";
    ack_forged: "这不是有效的接警链接", "This link is not one of ours";
    ack_forged_next: "链接可能被截断。请打开短信中的完整链接，或立即致电值班台。", "It may have been cut short. Open the full link from the message, or ring the duty desk now.";
    ack_expired: "链接已过期", "This link has expired";
    ack_expired_next: "请登录值班台查看该事件，或立即致电值班台。", "Sign in to the console to see the incident, or ring the duty desk now.";
    ack_gone: "找不到这起事件", "This incident does not exist";
    ack_failed_title: "接警没有记录成功", "Your answer was not recorded";
    ack_failed_next: "请再按一次；若仍不成功，立即致电值班台。", "Press again; if it fails once more, ring the duty desk now.";
    ack_try_again: "再试一次", "Try again";

    // faults
    fault_code: "代码", "Code";
    fault_next: "下一步", "What to do";
    back_to_alarms: "返回报警列表", "Back to the alarms";
    e_not_found: "没有这个页面或对象", "There is no such page or thing";
    n_not_found: "请检查地址，或从报警列表重新进入。", "Check the address, or start again from the alarm list.";
    e_forbidden: "您无权进行此操作", "You may not do this";
    n_forbidden: "如工作需要，请管理员调整您的角色。", "If your work needs it, ask the administrator to change your role.";
    e_form_expired: "表单已失效", "This form is no longer valid";
    n_form_expired: "请返回重新打开页面，再提交一次。", "Go back, open the page anew and submit once more.";
    e_bad_request: "请求无法理解", "The request could not be understood";
    n_bad_request: "请返回检查所填内容。", "Go back and check what was entered.";
    e_method: "此地址不接受这种请求方式", "This address does not take that method";
    n_method: "请使用页面上的按钮。", "Use the buttons on the page.";
    e_unavailable: "系统暂时无法完成", "The system cannot do this at the moment";
    n_unavailable: "请稍后重试；若有报警在处理，立即改用电话，并通知管理员。", "Try again shortly; if an alarm is in hand use the telephone now, and tell the administrator.";
    e_unauthorized: "需要登录", "You must sign in";
    n_unauthorized: "请登录，或使用集成凭据（HTTP Basic）。", "Sign in, or use an integration's credential (HTTP Basic).";
    e_not_now: "现在不能这样操作", "That is not possible now";
    n_not_now: "请刷新页面查看最新状态。", "Reload to see how things stand now.";
    e_too_large: "内容过大", "Too much content";
    n_too_large: "请缩短后再提交。", "Shorten it and submit again.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_empty_and_both_languages_have_the_same_places() {
        for (key, zh, en) in ALL {
            assert!(!zh.trim().is_empty() && !en.trim().is_empty(), "{key}");
            for place in ["{0}", "{1}", "{2}"] {
                assert_eq!(zh.contains(place), en.contains(place), "{key}: {place}");
            }
            let allowed_latin =
                ["lang", "other_language", "ppm", "field_co", "col_co", "hazard_co_short", "by", "semicolon"];
            let has_chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(has_chinese(zh) || allowed_latin.contains(key), "{key}: {zh} is not Chinese");
            assert!(!has_chinese(en) || *key == "other_language", "{key}: {en} is not English");
        }
    }

    #[test]
    fn places_are_filled_in_any_order() {
        assert_eq!(fill("{1} after {0}", &[&"a", &2]), "2 after a");
    }
}
