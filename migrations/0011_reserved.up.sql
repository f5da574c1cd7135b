-- Stands for the migration that takes this number when the branches come together.
SELECT 1;
