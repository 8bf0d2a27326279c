from hfseg.visualization.tables import markdown_table, terminal_table

ROWS = [["class", "from", "IoU"], ["road", "model", "0.9123"], ["traffic light", "SAM", "none"]]


def test_text_is_left_aligned_and_numbers_are_right_aligned_below_a_rule():
    assert terminal_table(ROWS, text_columns=2).splitlines() == [
        "class          from      IoU",
        "----------------------------",
        "road           model  0.9123",
        "traffic light  SAM      none",
    ]


def test_markdown_right_aligns_the_numbers():
    assert markdown_table(ROWS, text_columns=2).splitlines()[:2] == [
        "| class | from | IoU |",
        "|---|---|---:|",
    ]


def test_a_pipe_in_a_name_stays_in_its_cell():
    assert markdown_table([["class", "IoU"], ["a|b", "1"]]).endswith(r"| a\|b | 1 |")


def test_names_from_a_dataset_are_neither_html_nor_markdown():
    row = ["<img src=x>", "[a](http://b)", "`c`\n# d"]
    table = markdown_table([["", "", ""], row])
    assert table.splitlines()[-1] == r"| &lt;img src=x> | \[a\](http://b) | \`c\` # d |"


def test_summary_rows_are_below_a_rule_of_their_own():
    assert terminal_table(ROWS, summary_rows=1).splitlines()[3].strip("-") == ""
