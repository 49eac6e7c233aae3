"""The 42 columns of Census-Income: which are inputs, and which give a label away."""

# In the order of the file.
COLUMNS = (
    "age",
    "class_of_worker",
    "industry_code",
    "occupation_code",
    "education",
    "wage_per_hour",
    "enrolled_in_education",
    "marital_status",
    "major_industry",
    "major_occupation",
    "race",
    "hispanic_origin",
    "sex",
    "labor_union",
    "unemployment_reason",
    "employment_status",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "tax_filer_status",
    "previous_region",
    "previous_state",
    "household_family_status",
    "household_summary",
    "instance_weight",
    "migration_msa",
    "migration_region",
    "migration_within_region",
    "same_house_one_year_ago",
    "migration_sunbelt",
    "employer_size",
    "parents_present",
    "father_birth_country",
    "mother_birth_country",
    "own_birth_country",
    "citizenship",
    "own_business",
    "veteran_questionnaire",
    "veteran_benefits",
    "weeks_worked",
    "year",
    "income_class",
)
# Numbers that are counts or amounts.
NUMERIC = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "employer_size",
    "weeks_worked",
)
# Amounts of money, most of them zero and a few very large: take their logarithm.
MONEY = ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
# Numbers that are codes of categories.
CODES = (
    "industry_code",
    "occupation_code",
    "own_business",
    "veteran_benefits",
    "year",
)
# Says how many people the person stands for: for statistics, no input.
WEIGHT = "instance_weight"
# What the labels are made of.
_SOURCES = ("marital_status", "income_class")
INPUTS = tuple(name for name in COLUMNS if name not in (*_SOURCES, WEIGHT))
CATEGORICAL = tuple(name for name in INPUTS if name not in NUMERIC)
# These say, or nearly say, whether somebody is or was married.
LEAKS = ("tax_filer_status", "household_family_status", "household_summary")
